//! The worker as a program: standard input and output are its pipes.

#![forbid(unsafe_code)]

use std::io::{BufReader, stdin, stdout};
use std::process::{self, ExitCode};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Barrier};
use std::thread;

use ccos_rune::desk::{Desk, fault};
use ccos_rune::frames::{FrameError, Output, read};
use ccos_rune::messages::{Message, parse};
use ccos_rune::seeds::Seeds;
use ccos_rune::watch::Watch;
use ccos_rune::worker::Worker;
use ccos_rune::{RUNE_VERSION, VERSION, jail};

/// The native stack of the thread that runs scripts.
const STACK: usize = 64 * 1024 * 1024;

/// Messages that are read ahead.
const AHEAD: usize = 64;

/// Exit status after input that cannot be understood.
const BROKEN_INPUT: i32 = 2;

const USAGE: &str = "Usage: ccos-rune-worker [--no-jail | --version]\n\n\
    Runs Rune scripts for a host that speaks frames on standard input and output.\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve(true),
        ["--no-jail"] => serve(false),
        ["--version"] => {
            println!("ccos-rune-worker {VERSION} (Rune {RUNE_VERSION})");
            ExitCode::SUCCESS
        }
        ["--help"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve(jailed: bool) -> ExitCode {
    let output = Arc::new(Output::new(Box::new(stdout())));
    let watch = Watch::start(Arc::clone(&output));
    let (sender, inbox) = sync_channel(AHEAD);
    let desk = Arc::new(Desk::new(Arc::clone(&output), Arc::clone(&watch), inbox));
    let (report, reported) = sync_channel(1);
    let started = Arc::new(Barrier::new(2));
    let running = Arc::clone(&started);
    let (here, watching) = (Arc::clone(&output), Arc::clone(&watch));
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        running.wait();
        let Ok(jail) = reported.recv() else { return };
        let seeds = Seeds::install();
        match Worker::new(here, watching, desk, seeds, jail) {
            Ok(mut worker) => worker.serve(),
            Err(message) => eprintln!("{message}"),
        }
        process::exit(0);
    });
    if let Err(error) = thread {
        eprintln!("No thread could be started: {error}");
        return ExitCode::FAILURE;
    }
    // All threads are there now; the filter covers every one of them.
    started.wait();
    let jail = if jailed { jail::enter() } else { jail::none() };
    let _ = report.send(jail);
    listen(&output, &watch, &sender)
}

/// Read what the host says, until it says no more.
fn listen(output: &Output, watch: &Watch, sender: &SyncSender<Message>) -> ExitCode {
    let mut input = BufReader::new(stdin());
    loop {
        let frame = match read(&mut input) {
            Ok(frame) => frame,
            Err(FrameError::End) => process::exit(0),
            Err(FrameError::Broken(message)) => {
                output.send(&fault(None, &message));
                process::exit(BROKEN_INPUT);
            }
        };
        match parse(&frame) {
            Ok(Message::Shutdown) => process::exit(0),
            Ok(message) => {
                if let Message::Cancel(cancel) = &message {
                    watch.cancel(cancel.request);
                }
                if sender.send(message).is_err() {
                    process::exit(0);
                }
            }
            Err((request, message)) => output.send(&fault(request, &message)),
        }
    }
}
