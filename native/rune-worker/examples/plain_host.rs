//! Runs `main` of a Rune file in the plainest host there can be, for comparing speeds.
//!
//! `cargo run --release --example plain_host -- FILE [ROUNDS]` prints the seconds of each round.

#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rune::{Context, Source, Sources, Vm};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("Which file?")?;
    let rounds: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let context = Context::with_default_modules()?;
    let runtime = Arc::new(context.runtime()?);
    let mut sources = Sources::new();
    sources.insert(Source::new(&path, std::fs::read_to_string(&path)?)?)?;
    let unit = Arc::new(rune::prepare(&mut sources).with_context(&context).build()?);
    for _ in 0..rounds {
        let begin = Instant::now();
        Vm::new(Arc::clone(&runtime), Arc::clone(&unit)).call(["main"], ())?;
        println!("{:.6}", begin.elapsed().as_secs_f64());
    }
    Ok(())
}
