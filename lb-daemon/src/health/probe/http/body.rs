//! What an answer's body must be.

use md5::Md5;
use regex::bytes::Regex;
use sha2::{Digest, Sha256};

use super::super::expect::compile;
use crate::config::health::Http;

/// Nothing of it: it is not read then.
#[derive(Debug)]
pub(super) struct Body {
    regex: Option<Regex>,
    sha256: Option<[u8; 32]>,
    md5: Option<[u8; 16]>,
}

impl Body {
    /// # Errors
    /// The pattern does not compile.
    pub(super) fn new(http: &Http) -> Result<Self, String> {
        Ok(Self {
            regex: http.body_regex.as_ref().map(compile).transpose()?,
            sha256: http.body_sha256.map(|digest| *digest.as_bytes()),
            md5: http.body_md5.map(|digest| *digest.as_bytes()),
        })
    }

    pub(super) const fn is_any(&self) -> bool {
        self.regex.is_none() && self.sha256.is_none() && self.md5.is_none()
    }

    /// # Errors
    /// What of it is not as it must be.
    pub(super) fn judge(&self, body: &[u8]) -> Result<(), String> {
        if self
            .regex
            .as_ref()
            .is_some_and(|regex| !regex.is_match(body))
        {
            return Err("body does not match".into());
        }
        if self
            .sha256
            .is_some_and(|digest| Sha256::digest(body)[..] != digest)
        {
            return Err("body has another sha256".into());
        }
        if self
            .md5
            .is_some_and(|digest| Md5::digest(body)[..] != digest)
        {
            return Err("body has another md5".into());
        }
        Ok(())
    }
}
