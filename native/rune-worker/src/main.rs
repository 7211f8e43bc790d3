//! The worker as a program: standard input and output are its pipes.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, stdout};
use std::os::fd::AsFd;
use std::process::{self, ExitCode};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ccos_rune::desk::Desk;
use ccos_rune::frames::Output;
use ccos_rune::inbox::Inbox;
use ccos_rune::seeds::Seeds;
use ccos_rune::watch::Watch;
use ccos_rune::worker::Worker;
use ccos_rune::{RUNE_VERSION, VERSION, jail};

/// The native stack of the thread that runs scripts.
const STACK: usize = 64 * 1024 * 1024;

/// How often somebody looks for what the host says to a script that computes.
const LOOK: Duration = Duration::from_millis(20);

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

/// Standard output without the buffer of the library, which would look for ends of lines.
fn unbuffered_output() -> io::Result<File> {
    Ok(File::from(stdout().as_fd().try_clone_to_owned()?))
}

fn serve(jailed: bool) -> ExitCode {
    let output = match unbuffered_output() {
        Ok(file) => Arc::new(Output::new(Box::new(file))),
        Err(error) => {
            eprintln!("There is no standard output: {error}");
            return ExitCode::FAILURE;
        }
    };
    let watch = Watch::start(Arc::clone(&output));
    let inbox = Inbox::new(Arc::clone(&output), Arc::clone(&watch));
    let desk = Arc::new(Desk::new(Arc::clone(&output), Arc::clone(&watch), inbox));
    let (report, reported) = sync_channel(1);
    let started = Arc::new(Barrier::new(2));
    let running = Arc::clone(&started);
    let (looking, resting) = (Arc::clone(&desk), Arc::clone(&watch));
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
        running.wait();
        let Ok(jail) = reported.recv() else { return };
        let seeds = Seeds::install();
        match Worker::new(output, watch, desk, seeds, jail) {
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
    loop {
        resting.rest();
        thread::sleep(LOOK);
        looking.look();
    }
}
