//! The program `cardume`: parse the command line, build a node, and run it on this machine.

mod cli;

fn main() {
    std::process::exit(cli::run());
}
