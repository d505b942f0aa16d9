//! The program `cardume`: reads its command line, puts a node together with the machine, and runs it.

mod cli;

fn main() {
    std::process::exit(cli::run());
}
