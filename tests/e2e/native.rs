//! A client written from PROTOCOL.md alone, and a fake peer whose responses are set by the test.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::harness::TIMEOUT;

/// A connection of the native protocol.
pub struct Native {
    pub stream: TcpStream,
    from: BufReader<TcpStream>,
    next: u64,
}

impl Native {
    /// Connects without an opening.
    pub fn silent(at: SocketAddr) -> Native {
        Native::try_silent(at).unwrap_or_else(|| panic!("{at} can't be reached"))
    }

    /// As [`Native::silent`]; `None` when the connection is refused.
    pub fn try_silent(at: SocketAddr) -> Option<Native> {
        let stream = TcpStream::connect(at).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        let from =
            BufReader::with_capacity(256 << 10, stream.try_clone().expect("a second handle"));
        Some(Native { stream, from, next: 1 })
    }

    /// Connects and sends the opening.
    pub fn open(at: SocketAddr) -> Native {
        let mut native = Native::silent(at);
        native.send_line("{\"cardume\":1}");
        let welcome = native.receive();
        assert_eq!(welcome["cardume"], 1, "{welcome}");
        native
    }

    pub fn send_line(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side takes bytes");
    }

    /// The next header.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        self.receive_or_end().expect("one more line before the end")
    }

    /// The next header, or `None` at the end of the connection.
    #[track_caller]
    pub fn receive_or_end(&mut self) -> Option<Value> {
        let mut line = Vec::new();
        match self.from.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                Some(serde_json::from_slice(&line).unwrap_or_else(|error| {
                    panic!("{:?}: {error}", String::from_utf8_lossy(&line))
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Sends a request and returns its response; events are skipped.
    #[track_caller]
    pub fn request(&mut self, mut request: Value) -> Value {
        let id = self.next;
        self.next += 1;
        request["id"] = id.into();
        self.send_line(&request.to_string());
        loop {
            let answer = self.receive();
            if answer["id"] == id && answer.get("event").is_none() {
                return answer;
            }
        }
    }

    /// The error code or the status of the response.
    #[track_caller]
    pub fn outcome(&mut self, request: Value) -> String {
        let answer = self.request(request);
        let word = if answer.get("error").is_some() {
            &answer["error"]["code"]
        } else {
            &answer["status"]
        };
        word.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Reads `length` bytes of a body.
    pub fn body(&mut self, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).expect("a small body")];
        self.from.read_exact(&mut bytes).expect("a whole body");
        bytes
    }

    /// Downloads a whole file by FETCH.
    #[track_caller]
    pub fn fetch(&mut self, name: &str) -> Vec<u8> {
        let mut content = Vec::new();
        let mut header = self.request(json!({"method": "FETCH", "name": name}));
        loop {
            let length = header["length"].as_u64().unwrap_or_else(|| panic!("{header}"));
            content.extend(self.body(length));
            if header["more"] != true {
                return content;
            }
            header = self.receive();
        }
    }

    /// Joins with these files of one byte each.
    #[track_caller]
    pub fn join(&mut self, port: u16, names: &[&str]) -> Value {
        let files: Vec<Value> = names.iter().map(|name| json!({"name": name, "size": 1})).collect();
        self.request(json!({"method": "JOIN", "port": port, "files": files}))
    }

    /// The addresses of all providers of a file.
    #[track_caller]
    pub fn holders(&mut self, name: &str) -> Vec<String> {
        let answer = self.request(json!({"method": "SEARCH", "name": name}));
        let holders = answer["holders"].as_array().unwrap_or_else(|| panic!("{answer}"));
        holders
            .iter()
            .map(|holder| holder["peer"].as_str().expect("an address").to_owned())
            .collect()
    }

    /// Searches again until there are `wanted` providers.
    #[track_caller]
    pub fn wait_for_holders(&mut self, name: &str, wanted: usize) -> Vec<String> {
        crate::harness::wait_until("a change of the index", || {
            Some(self.holders(name)).filter(|found| found.len() == wanted)
        })
    }

    pub fn half_close(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("a half-close");
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("an abrupt end");
    }
}

/// A FETCH received by a fake peer.
pub struct FetchRequest {
    pub stream: TcpStream,
    pub fetch: Value,
    /// The number of earlier connections.
    pub nth: usize,
}

impl FetchRequest {
    /// Sends the header of a body.
    pub fn header(
        &mut self,
        name: &str,
        size: u64,
        tag: &str,
        from: u64,
        length: u64,
        more: bool,
    ) -> bool {
        let (id, status) = (self.fetch["id"].clone(), "FETCH_OK");
        let header = json!({"id": id, "status": status, "name": name, "size": size, "tag": tag, "from": from, "length": length, "more": more});
        self.raw(format!("{header}\n").as_bytes())
    }

    /// Sends bytes; false when the connection is gone.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn refuse(&mut self, code: &str, retry: bool) {
        let refusal = json!({"id": self.fetch["id"], "error": {"code": code, "retry": retry, "text": "\u{1b}[31mno\u{202e}"}});
        self.raw(format!("{refusal}\n").as_bytes());
    }

    /// The first requested byte.
    pub fn from(&self) -> u64 {
        self.fetch["from"].as_u64().unwrap_or(0)
    }
}

/// A peer that sends a valid opening and then runs `answer` for a FETCH. Runs until the tests end.
pub fn fake_peer(answer: impl Fn(&mut FetchRequest) + Send + 'static) -> SocketAddr {
    fake(move |mut stream, nth| {
        let mut from = BufReader::new(stream.try_clone()?);
        let (mut hello, mut fetch) = (String::new(), String::new());
        from.read_line(&mut hello)?;
        stream.write_all(
            b"{\"cardume\":1,\"role\":\"peer\",\"you\":\"127.0.0.1:1\",\"heartbeat_ms\":20000}\n",
        )?;
        from.read_line(&mut fetch)?;
        let Ok(fetch): Result<Value, _> = serde_json::from_str(&fetch) else { return Ok(()) };
        // This peer has no hash lists; PIECES is requested next, and only once.
        if let Some(id) = fetch["id"].as_u64().filter(|_| nth == 0) {
            stream.write_all(format!("{{\"id\":{},\"error\":{{\"code\":\"unsupported\",\"retry\":false,\"text\":\"\"}}}}\n", id + 1).as_bytes())?;
        }
        answer(&mut FetchRequest { stream, fetch, nth });
        Ok(())
    })
}

/// A listener that runs `act` for each connection. Runs until the tests end.
pub fn fake(act: impl Fn(TcpStream, usize) -> io::Result<()> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            let _ = act(stream, nth);
        }
    });
    at
}
