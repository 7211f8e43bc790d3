//! Frames on the pipes: four bytes of length, big-endian, then JSON.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use serde_json::Value as Json;

/// Longest frame in bytes, its length not counted.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// Output is handed to the pipe at the latest when this much is waiting.
const FLUSH_AT: usize = 64 * 1024;

/// Why no frame could be read.
#[derive(Debug)]
pub enum FrameError {
    /// The input ended between frames.
    End,
    /// The input cannot be understood from here on.
    Broken(String),
}

/// Read one frame.
pub fn read(input: &mut impl Read) -> Result<Vec<u8>, FrameError> {
    let mut length = [0_u8; 4];
    let mut have = 0;
    while have < length.len() {
        match input.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Err(FrameError::End),
            Ok(0) => return Err(FrameError::Broken("The input ends inside a frame.".into())),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Broken(format!("Reading failed: {error}."))),
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::Broken(format!(
            "A frame of {length} bytes is too long; {MAX_FRAME} are allowed."
        )));
    }
    // The buffer grows with what arrives: a length alone reserves nothing.
    let mut frame = Vec::new();
    match input.take(length as u64).read_to_end(&mut frame) {
        Ok(count) if count == length => Ok(frame),
        Ok(_) => Err(FrameError::Broken("The input ends inside a frame.".into())),
        Err(error) => Err(FrameError::Broken(format!("Reading failed: {error}."))),
    }
}

/// The pipe to the host. Frames of several threads do not mix.
pub struct Output {
    sink: Mutex<Sink>,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    waiting: Vec<u8>,
}

impl Output {
    /// Write to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            sink: Mutex::new(Sink {
                writer,
                waiting: Vec::new(),
            }),
        }
    }

    /// Append a frame; it leaves at the next [`flush`](Self::flush), or earlier.
    ///
    /// A message that would be too long is the error.
    pub fn queue(&self, message: &Json) -> Result<(), usize> {
        self.lock().append(message)
    }

    /// Send what is waiting. A host that went away is not an error: the end of the input says so.
    pub fn flush(&self) {
        self.lock().flush();
    }

    /// Send a frame at once.
    pub fn send(&self, message: &Json) {
        let mut sink = self.lock();
        let _ = sink.append(message);
        sink.flush();
    }

    /// Send a frame at once unless another thread is in the middle of writing.
    pub fn try_send(&self, message: &Json) -> bool {
        let mut sink = match self.sink.try_lock() {
            Ok(sink) => sink,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let _ = sink.append(message);
        sink.flush();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    fn append(&mut self, message: &Json) -> Result<(), usize> {
        let start = self.waiting.len();
        self.waiting.extend([0; 4]);
        // Writing JSON to memory cannot fail: keys are strings.
        let _ = serde_json::to_writer(&mut self.waiting, message);
        let length = self.waiting.len() - start - 4;
        let header = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
        let Some(header) = header else {
            self.waiting.truncate(start);
            return Err(length);
        };
        self.waiting[start..start + 4].copy_from_slice(&header.to_be_bytes());
        if self.waiting.len() >= FLUSH_AT {
            self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            let _ = self.writer.write_all(&self.waiting);
            let _ = self.writer.flush();
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{FrameError, MAX_FRAME, read};

    #[test]
    fn a_frame_is_read() {
        let mut input = Cursor::new(b"\0\0\0\x02{}\0\0\0\x00".to_vec());
        assert_eq!(read(&mut input).unwrap(), b"{}");
        assert_eq!(read(&mut input).unwrap(), b"");
        assert!(matches!(read(&mut input), Err(FrameError::End)));
    }

    #[test]
    fn what_ends_early_or_is_too_long_is_broken() {
        let too_long = u32::try_from(MAX_FRAME).unwrap() + 1;
        for bytes in [&b"\0\0"[..], b"\0\0\0\x05{}", &too_long.to_be_bytes()] {
            assert!(matches!(
                read(&mut Cursor::new(bytes)),
                Err(FrameError::Broken(_))
            ));
        }
    }
}
