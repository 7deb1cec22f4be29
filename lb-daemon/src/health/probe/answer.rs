//! What a real sends, taken in up to a limit.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::reason;

/// An answer as far as it has come. What follows the part that was taken is
/// kept for the next.
pub(super) struct Answer<S> {
    stream: S,
    /// Never longer than the limit.
    so_far: Vec<u8>,
    limit: usize,
}

impl<S: AsyncRead + Unpin> Answer<S> {
    pub(super) const fn new(stream: S, limit: usize) -> Self {
        Self {
            stream,
            so_far: Vec::new(),
            limit,
        }
    }

    pub(super) fn so_far(&self) -> &[u8] {
        &self.so_far
    }

    /// To write to.
    pub(super) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Waits for more; false: nothing will follow.
    ///
    /// # Errors
    /// The limit is reached, or the connection fails.
    pub(super) async fn more(&mut self) -> Result<bool, String> {
        let room = self.limit - self.so_far.len();
        if room == 0 {
            return Err(reason::too_long(self.limit));
        }
        self.so_far.reserve(room.min(4096));
        let mut stream = (&mut self.stream).take(room as u64);
        let count = stream.read_buf(&mut self.so_far).await;
        count
            .map(|count| count > 0)
            .map_err(|error| reason::of(&error))
    }

    /// The next line without its end; the last one may have none.
    ///
    /// # Errors
    /// None comes, or it is too long.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, String> {
        let mut seen = 0;
        loop {
            let end = self.so_far[seen..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let mut line: Vec<u8> = self.so_far.drain(..=seen + end).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(line);
            }
            seen = self.so_far.len();
            if !self.more().await? {
                if self.so_far.is_empty() {
                    return Err(reason::NO_ANSWER.into());
                }
                return Ok(std::mem::take(&mut self.so_far));
            }
        }
    }

    /// The next so many bytes; not more than the limit.
    ///
    /// # Errors
    /// They do not come.
    pub(super) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.so_far.len() < count {
            if !self.more().await? {
                return Err(reason::NO_ANSWER.into());
            }
        }
        Ok(self.so_far.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_bytes_in_turn() {
        let mut answer = Answer::new(&b"one\r\n\ntwothree"[..], 14);
        assert_eq!(answer.line().await.unwrap(), b"one");
        assert_eq!(answer.line().await.unwrap(), b"");
        assert_eq!(answer.exactly(3).await.unwrap(), b"two");
        assert_eq!(answer.line().await.unwrap(), b"three");
        assert_eq!(answer.line().await.unwrap_err(), "no answer");
        assert_eq!(answer.exactly(1).await.unwrap_err(), "no answer");
    }

    #[tokio::test]
    async fn the_limit_is_kept() {
        let mut answer = Answer::new(tokio::io::repeat(b'x'), 5000);
        let error = answer.line().await.unwrap_err();
        assert_eq!(error, "answer is longer than 5000 bytes");
        assert_eq!(answer.so_far().len(), 5000);
    }
}
