//! A host that talks to a worker, for tests.

#![allow(dead_code)]

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

/// A worker process and the pipes to it.
pub struct Host {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    requests: i64,
}

impl Host {
    /// Start a worker.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Start a worker with arguments.
    pub fn with(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ccos-rune-worker"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: child.stdout.take().unwrap(),
            child,
            requests: 0,
        }
    }

    /// Send bytes as they are; false if the worker does not listen any more.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).and_then(|()| input.flush()).is_ok()
    }

    /// Send bytes as a frame.
    pub fn frame(&mut self, bytes: &[u8]) -> bool {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        self.raw(&[&length, bytes].concat())
    }

    /// Send a message.
    pub fn send(&mut self, message: &Json) {
        assert!(self.frame(message.to_string().as_bytes()));
    }

    /// The next message; None at the end.
    pub fn receive(&mut self) -> Option<Json> {
        let mut length = [0; 4];
        self.output.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut frame).unwrap();
        Some(serde_json::from_slice(&frame).unwrap())
    }

    /// Send a request; gives its number.
    pub fn begin(&mut self, mut request: Json) -> i64 {
        self.requests += 1;
        request["id"] = json!(self.requests);
        self.send(&request);
        self.requests
    }

    /// Send a request, and receive one message.
    pub fn ask(&mut self, request: Json) -> Json {
        let id = self.begin(request);
        let answer = self.receive().unwrap();
        assert_eq!(answer["request"], json!(id), "{answer}");
        answer
    }

    /// Compile without host functions.
    pub fn compile(&mut self, source: &str) -> Json {
        self.ask(json!({"type": "compile", "source": source}))
    }

    /// The name of the unit of a source that has to compile.
    pub fn unit(&mut self, source: &str, functions: &Json) -> String {
        let answer = self.ask(json!({"type": "compile", "source": source, "functions": functions}));
        let unit = answer["unit"].as_str();
        unit.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Call a function and receive its last message; what it prints goes to `printed`.
    pub fn run(&mut self, call: Json, printed: &mut String) -> Json {
        self.begin(call);
        loop {
            let message = self.receive().unwrap();
            match message["type"].as_str().unwrap() {
                "print" => printed.push_str(message["text"].as_str().unwrap()),
                _ => return message,
            }
        }
    }

    /// Compile a source and call its `main`.
    pub fn main(&mut self, source: &str, limits: &Json) -> Json {
        let unit = self.unit(source, &json!([]));
        let call = json!({"type": "call", "unit": unit, "function": "main", "limits": limits});
        self.run(call, &mut String::new())
    }

    /// Send nothing more, and wait for the end: the exit status.
    pub fn end(mut self) -> Option<i32> {
        self.input = None;
        self.child.wait().unwrap().code()
    }

    /// The exit status of a worker that ends by itself.
    pub fn status(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The file descriptors of the worker.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
