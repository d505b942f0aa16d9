//! Account load for `scripts/bench/accounts.py`, fast enough to stay below the measured server.
//!
//! ```text
//! accounts_load fill FOLDER USERS PUBLICATIONS
//!     creates a store; half of the users are connected, by the UC3M 2024 protocol
//! accounts_load work SERVER WORD LINKS WINDOW COUNT SECONDS
//!     PUBLISH or REGISTER on LINKS connections, each with WINDOW requests in flight
//! ```
//!
//! `work` ends after COUNT responses or after SECONDS, and prints one line of JSON. All proofs are
//! signed before the clock starts.

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use cardume::accounts::identity::Identity;
use cardume::accounts::store::{Account, Store as _, UserConnection};
use cardume::os::sqlite::SqliteStore;
use cardume::protocol::types::account::{Authority, Line, Method, Publication, UserName};
use cardume::protocol::types::legacy_profile::LegacyProfile;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", folder, users, publications] => fill(Path::new(folder), users.parse()?, publications.parse()?),
        ["work", server, word, links, window, count, seconds] => {
            let most = Duration::from_secs_f64(seconds.parse()?);
            work(server.parse()?, word, links.parse()?, window.parse()?, count.parse()?, most)
        }
        _ => Err("usage: accounts_load fill FOLDER USERS PUBLICATIONS | work SERVER WORD LINKS WINDOW COUNT SECONDS".into()),
    }
}

fn fill(folder: &Path, users: usize, publications: usize) -> Outcome<()> {
    let store = SqliteStore::open(folder).map_err(|error| error.to_string())?;
    let name = |number: usize| {
        UserName::new(&format!("user-{number:06}"))
            .map_err(|why| format!("a user name must not {why}"))
    };
    let line = |text: String| Line::new(&text).ok_or("a long line");
    let failed = |error: cardume::accounts::store::StoreError| error.to_string();
    store.begin().map_err(failed)?;
    for number in 0..users {
        store.add_user(&name(number)?, &Account { key: None }).map_err(failed)?;
        if number % 2 == 0 {
            let [.., b, c, d] = number.to_be_bytes();
            let address = SocketAddr::from(([10, b, c, d], 4_000));
            store
                .connect(
                    &name(number)?,
                    &UserConnection { address, speaks: LegacyProfile::Uc3m2024 },
                )
                .map_err(failed)?;
        }
    }
    store.commit().map_err(failed)?;
    for first in (0..publications).step_by(20_000) {
        store.begin().map_err(failed)?;
        for number in first..publications.min(first + 20_000) {
            let what = Publication {
                file: line(format!("Cursos/aula de video {number:07}.mp4"))?,
                description: line(format!("lesson {number} of the course of {}", number % 977))?,
            };
            store.publish(&name(number % users)?, &what).map_err(failed)?;
        }
        store.commit().map_err(failed)?;
    }
    while store.rest() {}
    Ok(())
}

/// One connection with its remaining requests.
struct Link {
    stream: mio::net::TcpStream,
    /// Remaining requests, the last first.
    asks: Vec<String>,
    /// Send times of unanswered requests.
    sent: std::collections::VecDeque<Instant>,
    unsent: Vec<u8>,
    heard: Vec<u8>,
}

impl Link {
    /// Sends requests until `window` are unanswered.
    fn pump(&mut self, window: usize) -> io::Result<()> {
        while self.sent.len() < window
            && let Some(ask) = self.asks.pop()
        {
            self.unsent.extend_from_slice(ask.as_bytes());
            self.sent.push_back(Instant::now());
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads received responses and records their times.
    fn hear(&mut self, wanted: &str, times: &mut Vec<Duration>) -> Outcome<()> {
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server has ended a link".into()),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let Some(end) = memchr::memrchr(b'\n', &self.heard) else { return Ok(()) };
        for answer in self.heard[..end].split(|byte| *byte == b'\n') {
            if memchr::memmem::find(answer, wanted.as_bytes()).is_none() {
                return Err(String::from_utf8_lossy(answer).into());
            }
            times.push(self.sent.pop_front().ok_or("an answer to nothing")?.elapsed());
        }
        self.heard.drain(..=end);
        Ok(())
    }
}

fn work(
    server: SocketAddr,
    word: &str,
    links: usize,
    window: usize,
    count: usize,
    most: Duration,
) -> Outcome<()> {
    // Names unique to this run.
    let run = format!("{}-{}", word.to_lowercase(), std::process::id());
    // Connections differ in speed: each has somewhat more than its share.
    let each = count / links + count / links / 8 + 1;
    let mut poll = Poll::new()?;
    let mut all = Vec::new();
    for number in 0..links {
        let asks = |user: &UserName, nonce: &str, identity: &Identity| -> Outcome<Vec<String>> {
            (0..each)
                .map(|ask| match word {
                    "REGISTER" => {
                        Ok(proved(Method::Register, &UserName::new(&format!("{user}-{ask}")).map_err(|why| why.to_string())?, nonce, identity))
                    }
                    _ => Ok(json!({"method": "PUBLISH", "name": format!("{run}/{number} {ask}.mp4"), "description": "what is said of it"})),
                })
                .map(|ask: Outcome<Value>| Ok(format!("{}\n", ask?)))
                .collect()
        };
        let (stream, asks) = opened(server, &format!("{run}-{number}"), number, asks)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(
            &mut stream,
            Token(number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        all.push(Link {
            stream,
            asks,
            sent: Default::default(),
            unsent: Vec::new(),
            heard: Vec::new(),
        });
    }
    let wanted = format!("{word}_OK");
    let mut times = Vec::new();
    let mut events = Events::with_capacity(256);
    let began = Instant::now();
    for link in &mut all {
        link.pump(window)?;
    }
    while times.len() < count
        && began.elapsed() < most
        && all.iter().any(|link| !link.sent.is_empty())
    {
        poll.poll(&mut events, Some(Duration::from_millis(100)))?;
        for event in &events {
            let link = &mut all[event.token().0];
            link.hear(&wanted, &mut times)?;
            link.pump(window)?;
        }
    }
    let took = began.elapsed().as_secs_f64();
    times.sort();
    let share = |share: f64| {
        times
            .get((times.len() as f64 * share) as usize)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{}",
        json!({"done": times.len(), "seconds": took, "rate": times.len() as f64 / took, "p50_ms": share(0.5), "p99_ms": share(0.99)})
    );
    Ok(())
}

/// A connection of a registered and connected user, with its requests.
fn opened(
    server: SocketAddr,
    name: &str,
    number: usize,
    asks: impl Fn(&UserName, &str, &Identity) -> Outcome<Vec<String>>,
) -> Outcome<(TcpStream, Vec<String>)> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    let mut hear = || -> Outcome<Value> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    stream.write_all(b"{\"cardume\":1}\n")?;
    let nonce = hear()?["nonce"].as_str().ok_or("no nonce")?.to_owned();
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    let identity = Identity::new(&secret).ok_or("no key")?;
    let user = UserName::new(name).map_err(|why| why.to_string())?;
    for method in [Method::Register, Method::Connect] {
        stream.write_all(format!("{}\n", proved(method, &user, &nonce, &identity)).as_bytes())?;
        let answer = hear()?;
        if answer.get("error").is_some() {
            return Err(answer.to_string().into());
        }
    }
    let asks = asks(&user, &nonce, &identity)?;
    stream.set_nonblocking(true)?;
    Ok((stream, asks))
}

fn proved(method: Method, user: &UserName, nonce: &str, identity: &Identity) -> Value {
    let Authority::Proof { key, proof } = identity.proves(method, user, nonce) else {
        return Value::Null;
    };
    json!({"method": method.as_str(), "user": &**user, "key": key.to_string(), "proof": proof.to_string()})
}
