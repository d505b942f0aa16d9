//! Settings of a file and of the environment, by `--config` and `cardume config`.

use crate::harness::{Dir, Process, address_in, cardume, finish, own_ip, run};

/// A folder with this settings file, and the path of the file.
fn settings(text: &str) -> (Dir, String) {
    let dir = Dir::with("cardume.toml", text.as_bytes());
    let path = dir.at("cardume.toml").to_str().expect("a path of UTF-8").to_owned();
    (dir, path)
}

#[test]
fn a_server_takes_its_settings_from_a_flag_a_variable_and_the_file_in_this_order() {
    let ips = [own_ip(), own_ip(), own_ip()];
    let (_dir, path) = settings(&format!("[server]\nlisten = '{}:0'\ndata = 'none'\n", ips[0]));
    let listens = |flag: bool, variable: bool| {
        let mut words = vec!["--config".to_owned(), path.clone(), "server".to_owned()];
        if flag {
            words.push(format!("--listen={}:0", ips[2]));
        }
        let mut command = cardume(words);
        if variable {
            command.env("CARDUME_LISTEN", format!("{}:0", ips[1]));
        }
        let process = Process::start(command);
        address_in(&process.wait_for_stderr("listening on")).expect("an address").ip()
    };
    assert_eq!(listens(false, false), ips[0]);
    assert_eq!(listens(false, true), ips[1]);
    assert_eq!(listens(true, true), ips[2]);
}

#[test]
fn the_usual_place_of_the_file_is_the_folder_of_the_users_settings() {
    let dir = Dir::new();
    std::fs::create_dir(dir.at("cardume")).expect("a folder");
    dir.write("cardume/cardume.toml", b"[server]\nheartbeat = 7\n");
    let mut command = cardume(["config", "--print", "server"]);
    command.env_remove("CARDUME_CONFIG").env("XDG_CONFIG_HOME", dir.text());
    let done = finish(Process::start(command));
    let line = format!("heartbeat = \"7\"  # {}/cardume/cardume.toml:2 [server]", dir.text());
    assert!(done.succeeded().out.contains(&line), "{done:#?}");
}

#[test]
fn the_printed_settings_are_a_settings_file() {
    let (_dir, path) = settings("[server]\nopen = true\nname = 'a \"b\" \\ c'\n");
    let printed = run(["config", "--config", &path]);
    let text = printed.succeeded().out.join("\n");
    assert!(text.contains("[server]") && text.contains("[peer]"), "{text}");
    let (_other, again) = settings(&text);
    run(["config", "--check", "--config", &again]).succeeded();
    let second = run(["config", "--config", &again, "server"]);
    let has = |text: &str| second.out.iter().any(|line| line.starts_with(text));
    assert!(has("open = true  # ") && has("name = \"a \\\"b\\\" \\\\ c\"  # "), "{second:#?}");
    // A password is not printed.
    let (_secret, path) = settings("[server]\nindex = 'redis://a:hidden@127.0.0.1:7'\n");
    let done = run(["config", "--config", &path, "server"]);
    assert!(!done.succeeded().out.join("\n").contains("hidden"), "{done:#?}");
}

#[test]
fn a_wrong_settings_file_ends_the_command_with_the_place_of_the_fault() {
    let (dir, path) = settings("[server]\nopen = true\n\n[peer]\nfoldr = 'x'\n");
    for words in [&["config", "--check"][..], &["server"], &["peer"]] {
        let done = run([&["--config", &path], words].concat());
        done.failed(2, &format!("{path}:5: unknown key foldr in [peer]"));
        assert_eq!(done.err.len(), 1, "{done:#?}");
    }
    dir.write("cardume.toml", b"[server]\nheartbeat = true\n");
    run(["config", "--check", "--config", &path])
        .failed(2, &format!("{path}:2: heartbeat is a text or a number"));
    dir.write("cardume.toml", b"[server]\ntls-cert = 'x'\n");
    run(["config", "--check", "--config", &path]).failed(2, &format!("{path}: [server]: "));
    dir.write("cardume.toml", b"[server]\nname = '\xff'\n");
    run(["config", "--check", "--config", &path])
        .failed(2, &format!("{path}: the settings are no UTF-8 text"));
    // A folder is no file, and nothing is there.
    run(["server", "--config", dir.text()]).failed_with(7);
    run(["server", "--config", "/nowhere/cardume.toml"]).failed_with(7);
    run(["config", "--check"]).failed(3, "no settings file");
    dir.write("cardume.toml", &vec![b'#'; (1 << 20) + 1]);
    run(["config", "--check", "--config", &path]).failed(2, "longer than 1 MiB");
    dir.write("cardume.toml", b"[peer]\nonce = true\n");
    let done = run(["config", "--check", "--config", &path]);
    assert_eq!(done.succeeded().out, [format!("{path}: OK")]);
}
