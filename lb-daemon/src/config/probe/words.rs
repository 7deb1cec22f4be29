//! The words in a check's keys: parts of requests that a probe sends as they
//! are, so that none of them can end a line or a name before its time.

/// A method of HTTP: a token (RFC 9110 section 5.6.2) in capitals.
pub(crate) fn method(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a method: expected GET, HEAD, …"))
    }
}

/// The target of a request: a path, and perhaps a query.
pub(crate) fn request_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a path: it begins with a slash and has no spaces; percent-encode what is not ASCII"
        ))
    }
}

/// A name of a host, perhaps with a port, for a header or a greeting.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a host"))
    }
}

/// The name of a header: a token (RFC 9110 section 5.6.2).
pub(crate) fn header_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.eq_ignore_ascii_case("host") {
        return Err("Host is a key of its own: host".into());
    }
    if !text.is_empty() && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a header"))
    }
}

/// The value of a header: no control characters (RFC 9110 section 5.5).
pub(crate) fn header_value(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err(format!(
            "{text:?} is not a header's value: no control characters, no space around it"
        ));
    }
    Ok(text.to_owned())
}

/// One word of a command.
pub(crate) fn argument(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err(format!("{text:?} has a NUL, which no argument can have"));
    }
    Ok(text.to_owned())
}

/// A program and its arguments, never a shell's line; none: nothing is run.
pub(crate) fn argv(words: Vec<String>) -> Result<Vec<String>, String> {
    match words.first() {
        Some(program) if !program.starts_with('/') => Err(format!(
            "{program:?} is not an absolute path: the program comes first, then its arguments, each a string"
        )),
        _ => Ok(words),
    }
}

/// A status of HTTP, or a range of them: `200`, `200-299`.
pub(crate) fn status_range(text: &str) -> Result<(u16, u16), String> {
    let status = |text: &str| text.parse().ok().filter(|s| (100..=599).contains(s));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!(
            "{text:?} is not a status or a range: expected 200 or 200-299, from 100 to 599"
        )),
    }
}

/// A domain name in labels of letters, digits, hyphens and underscores (RFC
/// 1035 section 2.3.4 for the lengths).
pub(crate) fn domain(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    if text == "." || labels.len() <= 253 && labels.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not a domain name"))
    }
}

/// A name of a service in gRPC's health checking protocol.
pub(crate) fn grpc_service(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of a service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_http_and_dns() {
        assert_eq!(status_range("204"), Ok((204, 204)));
        assert_eq!(status_range("200-399"), Ok((200, 399)));
        for text in ["", "99", "600", "299-200", "2xx", "200-"] {
            assert!(status_range(text).is_err(), "{text}");
        }
        assert!(request_path("/a?b=c%20d").is_ok());
        for text in ["", "a", "/a b", "/ü", "/\r\n"] {
            assert!(request_path(text).is_err(), "{text}");
        }
        assert!(method("HEAD").is_ok());
        assert!(method("get").is_err() && method("").is_err());
        assert!(host("www.example.com:8080").is_ok() && host("[2001:db8::1]").is_ok());
        assert!(host("a b").is_err() && host("a\r\nb").is_err() && host("").is_err());
        assert!(header_name("X-Check").is_ok());
        assert!(header_name("a:").is_err() && header_name("HOST").is_err());
        assert!(header_value("a b").is_ok() && header_value("").is_ok());
        assert!(header_value("a\r\nb: c").is_err() && header_value(" a").is_err());
        for text in [".", "example.com", "_sip._udp.example.com."] {
            assert!(domain(text).is_ok(), "{text}");
        }
        for text in ["", "a..b", "..", &"a".repeat(64), &"a.".repeat(128)] {
            assert!(domain(text).is_err(), "{text}");
        }
    }
}
