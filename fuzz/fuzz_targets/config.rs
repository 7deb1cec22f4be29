//! A configuration: whatever it says, it is read or refused in one line, and
//! what was read is written in a text that means the same.

#![no_main]

use lb_daemon::config::{
    file::{ConfigError, parse},
    write,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse(text, "fuzz.toml") {
        Ok(config) => {
            let written = write::toml(&config);
            let read = parse(&written, "written.toml");
            assert_eq!(read, Ok(config), "{written}");
        }
        Err(ConfigError::Refused { line, problem, .. }) => {
            assert!(line >= 1 && line <= text.lines().count() + 1);
            assert!(!problem.is_empty() && !problem.contains('\n'), "{problem:?}");
        }
        Err(error) => panic!("{error}"),
    }
});
