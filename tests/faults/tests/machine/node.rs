//! A process that does what it is told over TCP, line by line: this test binary, started again.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use dledger_faults::machine::{Machine, Node};

/// How long what is not held up may take.
pub const PROMPTLY: Duration = Duration::from_secs(5);

/// A node that runs; killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it, and waits until it listens.
    pub fn start(node: &Node) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = node.command(own);
        command.args(["served", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("SERVE_AT", node.bind()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("listening")), "it ends without listening");
        Self(child)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process does.
pub fn serve() {
    let Ok(at) = std::env::var("SERVE_AT") else { return };
    let listener = TcpListener::bind(&at).unwrap();
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                // In one piece: Nagle's algorithm would delay the second of two.
                if stream.write_all(format!("{}\n", answer(&line)).as_bytes()).is_err() {
                    break;
                }
            }
        });
    }
}

fn answer(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match *words {
        ["sync", path, bytes] => {
            let write = || {
                let mut file = std::fs::File::create(path)?;
                file.write_all(&vec![7; bytes.parse().unwrap()])?;
                file.sync_data()
            };
            write().map_or_else(|error: std::io::Error| error.to_string(), |()| "synced".into())
        }
        ["time"] => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string(),
        ["ask", address, millis] => {
            let within = Duration::from_millis(millis.parse().unwrap());
            ask(address, "echo", within).unwrap_or_else(|error| format!("error: {:?}", error.kind()))
        }
        _ => line.to_owned(),
    }
}

/// Asks whoever listens there, over a new connection.
pub fn ask(address: &str, line: &str, within: Duration) -> std::io::Result<String> {
    Asker::new(address, within)?.ask(line)
}

/// A connection to a process.
pub struct Asker(BufReader<TcpStream>);

impl Asker {
    pub fn new(address: &str, within: Duration) -> std::io::Result<Self> {
        let address: SocketAddr = address.parse().unwrap();
        let stream = TcpStream::connect_timeout(&address, within)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn ask(&mut self, line: &str) -> std::io::Result<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        match self.0.read_line(&mut answer)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }
}

/// Whether node `from` reaches node `to`; asked from outside.
pub fn reaches(machine: &Machine, from: u64, to: u64) -> bool {
    let line = format!("ask {} 150", machine.node(to).address());
    ask(machine.node(from).address(), &line, PROMPTLY).unwrap() == "echo"
}
