//! Command lines of notify scripts and checks, which lbd starts as argv and
//! never through a shell.

/// A command line as lbd takes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Argv {
    pub(super) words: Vec<String>,
    /// What is different from before.
    pub(super) remarks: Vec<String>,
}

/// The words of `line`, the first a path from the root.
pub(super) fn argv(line: &str) -> Result<Argv, &'static str> {
    let mut words = split(line);
    let mut remarks = Vec::new();
    if words.iter().any(|word| word.contains('\0')) {
        return Err("no argument can have a NUL");
    }
    let program = words.first().filter(|program| !program.is_empty());
    let program = program.ok_or("has no command")?;
    if !program.starts_with('/') {
        remarks.push(format!("{program} has no path; {ENV} finds it"));
        words.insert(0, ENV.into());
    }
    if let Some(character) = shell_character(line) {
        remarks.push(format!(
            "no shell reads the command: {character:?} means itself"
        ));
    }
    Ok(Argv { words, remarks })
}

/// Starts a program that is in the `PATH`.
const ENV: &str = "/usr/bin/env";

/// The words of `line`; single and double quotes keep blanks together, a
/// backslash keeps the next character from meaning anything.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' if quote != Some('\'') => {
                let next = characters.next().unwrap_or('\\');
                word.get_or_insert_default().push(next);
            }
            _ if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ if quote.is_none() && c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What only a shell would make something of, if `line` has any.
fn shell_character(line: &str) -> Option<char> {
    line.chars().find(|c| "|&;<>`$*?()".contains(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_keepalived_does() {
        for (line, expected) in [
            (
                "/bin/check 10.0.0.1  80",
                &["/bin/check", "10.0.0.1", "80"][..],
            ),
            ("/bin/n ' a b ' ''", &["/bin/n", " a b ", ""]),
            ("a\\ b \"c d\"e", &["a b", "c de"]),
            ("open 'quote", &["open", "quote"]),
            ("end\\", &["end\\"]),
            ("  ", &[]),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }

    #[test]
    fn programs_have_a_path_and_no_shell() {
        let of = |line| argv(line).map(|argv| (argv.words.join(" "), argv.remarks.join("; ")));
        assert_eq!(
            of("/bin/a -b %h"),
            Ok(("/bin/a -b %h".into(), String::new()))
        );
        let (words, remarks) = of("ping $1").unwrap();
        assert_eq!(words, "/usr/bin/env ping $1");
        assert_eq!(
            remarks,
            "ping has no path; /usr/bin/env finds it; no shell reads the command: '$' means itself"
        );
        assert_eq!(of(" "), Err("has no command"));
        assert_eq!(of("''"), Err("has no command"));
        assert_eq!(of("/bin/a \0"), Err("no argument can have a NUL"));
    }
}
