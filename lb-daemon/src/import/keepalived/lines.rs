//! The lines of a `keepalived.conf` and of the files it includes: comments taken
//! away, `$PARAMETER`s put in. keepalived.conf(5), "Advanced configuration".

use std::{collections::HashMap, path::Path, sync::Arc};

use super::super::source::{Files, ImportError, Place, Warnings};

/// Files that include files that include …
const MAX_DEPTH: usize = 16;
/// All lines together, after expansion.
const MAX_LINES: usize = 1_000_000;
/// One line after expansion.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Parameters put into one line.
const MAX_SUBSTITUTIONS: usize = 1000;

/// Every keyword that includes; they differ in what keepalived checks.
const INCLUDES: [&str; 6] = [
    "include", "includer", "includem", "includew", "includeb", "includea",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    /// Quotes are in it still.
    pub(super) text: String,
}

pub(super) fn read(
    text: &str,
    file: &str,
    files: &dyn Files,
    warnings: &mut Warnings,
) -> Result<Vec<Line>, ImportError> {
    let mut reader = Reader {
        files,
        warnings,
        definitions: HashMap::new(),
        lines: Vec::new(),
    };
    reader.file(text, file, 0)?;
    Ok(reader.lines)
}

struct Reader<'a> {
    files: &'a dyn Files,
    warnings: &'a mut Warnings,
    /// The lines of each parameter's value; most have one.
    definitions: HashMap<String, Vec<String>>,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, text: &str, file: &str, depth: usize) -> Result<(), ImportError> {
        let name: Arc<str> = file.into();
        let mut physical = text.lines().enumerate();
        while let Some((i, line)) = physical.next() {
            let place = Place {
                file: Arc::clone(&name),
                line: i + 1,
            };
            let line = without_comment(line).trim();
            if let Some((parameter, first)) = definition(line) {
                let mut value = vec![first.to_owned()];
                while let Some(stripped) = value.last().and_then(|last| last.strip_suffix('\\')) {
                    let stripped = stripped.trim_end().to_owned();
                    value.pop();
                    value.push(stripped);
                    let Some((_, next)) = physical.next() else {
                        break;
                    };
                    value.push(without_comment(next).trim().to_owned());
                }
                if value.len() > 1 && value[0].is_empty() {
                    value.remove(0);
                }
                self.definitions.insert(parameter.to_owned(), value);
                continue;
            }
            self.line(line, &place, depth, 0)?;
        }
        Ok(())
    }

    /// `nesting`: how many parameters of several lines it comes out of.
    fn line(
        &mut self,
        line: &str,
        place: &Place,
        depth: usize,
        nesting: usize,
    ) -> Result<(), ImportError> {
        if line.is_empty() {
            return Ok(());
        }
        if nesting > MAX_DEPTH {
            return Err(place.error("parameters that contain each other"));
        }
        if let Some((parameter, value)) = definition(line) {
            let value = vec![value.to_owned()];
            self.definitions.insert(parameter.to_owned(), value);
            return Ok(());
        }
        if let Some(pattern) = include(line) {
            return self.include(pattern, place, depth);
        }
        let whole = line.strip_prefix('$').map(|name| {
            let braced = name
                .strip_prefix('{')
                .and_then(|name| name.strip_suffix('}'));
            braced.unwrap_or(name)
        });
        if let Some(value) = whole.and_then(|name| self.definitions.get(name))
            && value.len() > 1
        {
            for line in value.clone() {
                self.line(&line, place, depth, nesting + 1)?;
            }
            return Ok(());
        }
        let text = self.substituted(line, place)?;
        if text != line && definition(&text).is_none() && text.starts_with(['$', '@', '~']) {
            return self.line(&text, place, depth, nesting + 1);
        }
        if let Some(condition) = text.strip_prefix('@') {
            let id = condition.split_whitespace().next().unwrap_or_default();
            let text = match id.strip_prefix('^') {
                Some(id) => format!("a line for all machines but {id} is left out"),
                None => format!("a line for the machine {id} alone is left out"),
            };
            self.warnings.add(place, text);
            return Ok(());
        }
        if text.starts_with("~SEQ") || text.starts_with("~LST") {
            return Err(place.error(
                "~SEQ and ~LST are not expanded here; write out the lines that they stand for",
            ));
        }
        if self.lines.len() == MAX_LINES {
            return Err(place.error(format!("more than {MAX_LINES} lines")));
        }
        self.lines.push(Line {
            place: place.clone(),
            text,
        });
        Ok(())
    }

    fn include(&mut self, pattern: &str, place: &Place, depth: usize) -> Result<(), ImportError> {
        if depth == MAX_DEPTH {
            return Err(place.error(format!("files include each other {MAX_DEPTH} deep")));
        }
        let included = self
            .files
            .included(&place.file, pattern)
            .map_err(|problem| place.error(format!("include {pattern}: {problem}")))?;
        if included.is_empty() {
            self.warnings
                .add(place, format!("include {pattern}: there is no such file"));
        }
        for file in included {
            self.file(&file.text, &file.path, depth + 1)?;
        }
        Ok(())
    }

    /// A parameter that is not defined stays as it is.
    fn substituted(&self, line: &str, place: &Place) -> Result<String, ImportError> {
        let mut text = line.to_owned();
        let mut from = 0;
        let mut substitutions = 0;
        while let Some(at) = text[from..].find('$').map(|at| from + at) {
            let Some((name, end)) = parameter(&text, at) else {
                from = at + 1;
                continue;
            };
            let value = match (name, self.definitions.get(name)) {
                (_, Some(value)) => value.join(" "),
                ("_PWD", None) => directory(&place.file),
                // They would begin a comment now; as words they have no meaning here.
                ("_HASH" | "_BANG", None) => {
                    let character = if name == "_HASH" { "#" } else { "!" };
                    text.replace_range(at..end, character);
                    from = at + 1;
                    continue;
                }
                (name, None) if name.starts_with('_') => {
                    return Err(
                        place.error(format!("${{{name}}}: only keepalived knows its value"))
                    );
                }
                (_, None) => {
                    from = end;
                    continue;
                }
            };
            substitutions += 1;
            text.replace_range(at..end, &value);
            if substitutions > MAX_SUBSTITUTIONS || text.len() > MAX_LINE_BYTES {
                return Err(place.error("parameters that contain each other"));
            }
            from = at;
        }
        Ok(text)
    }
}

/// `$NAME=VALUE`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    is_name(name).then_some((name, value.trim()))
}

/// The parameter at the dollar sign at `at`, and where it ends: `${NAME}`, or
/// `$NAME` before a blank or the line's end.
fn parameter(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = &text[at + 1..];
    if let Some(braced) = rest.strip_prefix('{') {
        let end = braced.find('}')?;
        let name = braced[..end].split_whitespace().next()?;
        return is_name(name).then_some((name, at + 2 + end + 1));
    }
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    let is_apart = rest[end..].chars().next().is_none_or(char::is_whitespace);
    (is_apart && is_name(&rest[..end])).then(|| (&rest[..end], at + 1 + end))
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed)
}

fn include(line: &str) -> Option<&str> {
    let (keyword, pattern) = line.split_once(char::is_whitespace)?;
    let pattern = pattern.trim().trim_matches(['"', '\'']);
    (INCLUDES.contains(&keyword) && !pattern.is_empty()).then_some(pattern)
}

fn directory(file: &str) -> String {
    let parent = Path::new(file).parent();
    let parent = parent.map(|parent| parent.display().to_string());
    match parent {
        Some(parent) if !parent.is_empty() => parent,
        _ => ".".into(),
    }
}

/// `#` and `!` begin one anywhere but in quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                continue;
            }
            '\\' if quote.is_some() => is_escaped = true,
            _ if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            '#' | '!' if quote.is_none() => return &line[..at],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{super::super::source::Included, *};

    /// Knows one directory.
    struct Directory(Vec<(&'static str, &'static str)>);

    impl Files for Directory {
        fn included(&self, from: &str, pattern: &str) -> Result<Vec<Included>, String> {
            if pattern == "secret" {
                return Err("permission denied".into());
            }
            let files = self.0.iter();
            let files = files.filter(|(path, _)| pattern == "*" && *path != from);
            Ok(files
                .map(|(path, text)| Included {
                    path: (*path).into(),
                    text: (*text).into(),
                })
                .collect())
        }
    }

    fn lines(text: &str) -> Result<Vec<String>, String> {
        let files = Directory(vec![("a", "in a\n$X=2\n"), ("b", "in b ${_PWD}\n")]);
        let mut warnings = Warnings::default();
        let lines = read(text, "/etc/k.conf", &files, &mut warnings);
        let lines = lines.map_err(|error| error.to_string())?;
        let lines = lines.iter();
        let mut lines: Vec<_> = lines
            .map(|line| format!("{}: {}", line.place, line.text))
            .collect();
        let warnings = warnings.in_order();
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        Ok(lines)
    }

    #[test]
    fn comments_end_lines_but_not_in_quotes() {
        let text = "! all of it\na b # c\n  'd # e' !f\n\"g\\\"!\" #\n";
        let expected = ["2: a b", "3: 'd # e'", "4: \"g\\\"!\""];
        let expected: Vec<_> = expected
            .iter()
            .map(|e| format!("/etc/k.conf:{e}"))
            .collect();
        assert_eq!(lines(text).unwrap(), expected);
    }

    #[test]
    fn parameters_are_put_in_late_and_whole_blocks_too() {
        let text = "$A=10.${B}.1\n$B=1\nx $A\n$B=2\nx ${A}/24 $UNKNOWN $Ax\n$E=\ny $E z\n\
                    $BLOCK= \\\n  first ${N} { \\\n  } # done\n$N=7\n$BLOCK\nz ${_HASH}1 ${_PWD}\n";
        assert_eq!(
            lines(text).unwrap(),
            [
                "/etc/k.conf:3: x 10.1.1",
                "/etc/k.conf:5: x 10.2.1/24 $UNKNOWN $Ax",
                "/etc/k.conf:7: y  z",
                "/etc/k.conf:12: first 7 {",
                "/etc/k.conf:12: }",
                "/etc/k.conf:13: z #1 /etc",
            ]
        );
    }

    #[test]
    fn included_files_stand_in_their_place() {
        assert_eq!(
            lines("before\ninclude *\nincluder \"none\"\nafter $X\n").unwrap(),
            [
                "/etc/k.conf:1: before",
                "a:1: in a",
                "b:1: in b .",
                "/etc/k.conf:4: after 2",
                "warning: /etc/k.conf:3: include none: there is no such file",
            ]
        );
        assert_eq!(
            lines("\ninclude secret\n").unwrap_err(),
            "/etc/k.conf:2: include secret: permission denied"
        );
    }

    #[test]
    fn what_includes_itself_ends() {
        let files = Directory(vec![("a", "include *\n"), ("b", "include *\n")]);
        let error = read("include *", "c", &files, &mut Warnings::default()).unwrap_err();
        assert!(
            error.to_string().contains("include each other 16 deep"),
            "{error}"
        );
    }

    #[test]
    fn templates_of_other_kinds_are_refused_or_warned_of() {
        for (text, expected) in [
            ("~SEQ(A, 1, 3) x $A", "~SEQ and ~LST are not expanded here"),
            ("$A=$A $A\nx $A", "parameters that contain each other"),
            (
                "$A= \\\n$A \\\n$A\n$A",
                "parameters that contain each other",
            ),
            (
                "x ${_RANDOM 1 5}",
                "${_RANDOM}: only keepalived knows its value",
            ),
        ] {
            let error = lines(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(
            lines("@main a\n@^main b\nc").unwrap(),
            [
                "/etc/k.conf:3: c",
                "warning: /etc/k.conf:1: a line for the machine main alone is left out",
                "warning: /etc/k.conf:2: a line for all machines but main is left out",
            ]
        );
    }
}
