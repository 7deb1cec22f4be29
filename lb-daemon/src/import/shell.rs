//! As much of a shell script as scripts for ipvsadm have: words, quotes,
//! `NAME=value` and `$NAME`. Nothing is run; branches and loops are not followed.

use std::{collections::HashMap, iter::Peekable, str::Chars, sync::Arc};

use super::source::{ImportError, Place};

/// Longest word after expansion.
const MAX_WORD_BYTES: usize = 64 << 10;

/// What may stand before a command without changing what it is.
const BEFORE_COMMANDS: [&str; 9] = [
    "then", "do", "else", "sudo", "exec", "command", "{", "(", "!",
];

/// A command with its arguments, expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellCommand {
    pub(super) place: Place,
    /// At least one.
    pub(super) words: Vec<String>,
    /// What is in it and has no value that is known.
    pub(super) unknown: Option<String>,
}

/// The commands of a script. Assignments are none.
pub(super) fn commands(text: &str, file: &str) -> Result<Vec<ShellCommand>, ImportError> {
    let file: Arc<str> = file.into();
    let mut variables = HashMap::new();
    let mut commands = Vec::new();
    let mut physical = text.lines().enumerate();
    while let Some((i, line)) = physical.next() {
        let place = Place {
            file: Arc::clone(&file),
            line: i + 1,
        };
        let mut line = line.to_owned();
        while line.ends_with('\\') {
            line.pop();
            let Some((_, next)) = physical.next() else {
                break;
            };
            line.push_str(next);
        }
        for words in simple_commands(&line).map_err(|problem| place.error(problem))? {
            let command = expanded(&words, &mut variables, &place)?;
            commands.extend(command);
        }
    }
    Ok(commands)
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable {
        name: String,
        /// Then its blanks do not end the word.
        is_quoted: bool,
    },
    /// A command's output and the like, as it is written.
    Unknown(String),
}

type Word = Vec<Part>;

/// Values; none: assigned, but of nothing that is known.
type Variables = HashMap<String, Option<String>>;

/// Carries out the assignments of a command, and what is left is the command.
fn expanded(
    words: &[Word],
    variables: &mut Variables,
    place: &Place,
) -> Result<Option<ShellCommand>, ImportError> {
    let mut unknown = None;
    let mut fields: Vec<String> = Vec::new();
    let mut is_assignment = true;
    for word in words {
        let (own, missing) = fields_of(word, variables);
        if own.iter().any(|field| field.len() > MAX_WORD_BYTES) {
            return Err(place.error("variables that contain each other"));
        }
        is_assignment &= fields.is_empty();
        if is_assignment {
            let text = own.join(" ");
            if let Some((name, value)) = assignment(word, &text) {
                let value = missing.is_none().then(|| value.to_owned());
                variables.insert(name.to_owned(), value);
                continue;
            }
            if let [first] = &own[..]
                && (first == "export" || BEFORE_COMMANDS.contains(&&**first))
            {
                continue;
            }
        }
        unknown = unknown.or(missing);
        fields.extend(own);
    }
    Ok((!fields.is_empty()).then(|| ShellCommand {
        place: place.clone(),
        words: fields,
        unknown,
    }))
}

/// `NAME=value`; the name and the sign must be written out.
fn assignment<'a>(word: &Word, text: &'a str) -> Option<(&'a str, &'a str)> {
    let Some(Part::Text(literal)) = word.first() else {
        return None;
    };
    let (name, _) = literal.split_once('=')?;
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(is_letter);
    is_name.then(|| text.split_once('=')).flatten()
}

/// What a word becomes: several where a variable has blanks and no quotes. And
/// the first of it that has no value.
fn fields_of(word: &Word, variables: &Variables) -> (Vec<String>, Option<String>) {
    let mut fields = vec![String::new()];
    let mut unknown = None;
    let push = |fields: &mut Vec<String>, text: &str| {
        if let Some(last) = fields.last_mut() {
            last.push_str(text);
        }
    };
    for part in word {
        match part {
            Part::Text(text) => push(&mut fields, text),
            Part::Unknown(text) => {
                unknown.get_or_insert_with(|| text.clone());
            }
            Part::Variable { name, is_quoted } => match variables.get(name) {
                Some(Some(value)) if *is_quoted => push(&mut fields, value),
                Some(Some(value)) => {
                    for (i, piece) in value.split_whitespace().enumerate() {
                        if i > 0 {
                            fields.push(String::new());
                        }
                        push(&mut fields, piece);
                    }
                }
                Some(None) | None => {
                    unknown.get_or_insert_with(|| format!("${name}"));
                }
            },
        }
    }
    (fields, unknown)
}

/// The commands on a line, each a list of words. Redirections are left out: they
/// do not change what a command is asked for.
fn simple_commands(line: &str) -> Result<Vec<Vec<Word>>, String> {
    let mut commands = vec![Vec::new()];
    let mut characters = line.chars().peekable();
    let mut word: Option<Word> = None;
    // The next word is a file's name.
    let mut is_redirected = false;
    let end_word = |commands: &mut Vec<Vec<Word>>, word: &mut Option<Word>, file: &mut bool| {
        if let Some(word) = word.take()
            && !std::mem::take(file)
            && let Some(command) = commands.last_mut()
        {
            command.push(word);
        }
    };
    while let Some(c) = characters.next() {
        match c {
            '#' if word.is_none() => break,
            c if c.is_whitespace() => end_word(&mut commands, &mut word, &mut is_redirected),
            ';' | '|' | '&' => {
                end_word(&mut commands, &mut word, &mut is_redirected);
                commands.push(Vec::new());
            }
            '<' | '>' => {
                // The number of what is redirected is no argument.
                let is_number = |word: &Word| matches!(&word[..], [Part::Text(text)] if text.chars().all(|c| c.is_ascii_digit()));
                if word.as_ref().is_some_and(is_number) {
                    word = None;
                }
                end_word(&mut commands, &mut word, &mut is_redirected);
                while characters.next_if(|c| "<>&".contains(*c)).is_some() {}
                is_redirected = true;
            }
            '\'' => {
                let text = until('\'', &mut characters)?;
                text_of(&mut word).push_str(&text);
            }
            '"' => double_quoted(&mut characters, word.get_or_insert_default())?,
            '\\' => {
                if let Some(c) = characters.next() {
                    text_of(&mut word).push(c);
                }
            }
            '`' => {
                let text = until('`', &mut characters)?;
                let part = Part::Unknown(format!("`{text}`"));
                word.get_or_insert_default().push(part);
            }
            '$' => {
                let part = dollar(&mut characters, false)?;
                word.get_or_insert_default().push(part);
            }
            c => text_of(&mut word).push(c),
        }
    }
    end_word(&mut commands, &mut word, &mut is_redirected);
    commands.retain(|command| !command.is_empty());
    Ok(commands)
}

/// Where the word's text goes on.
fn text_of(word: &mut Option<Word>) -> &mut String {
    text_in(word.get_or_insert_default())
}

fn text_in(word: &mut Word) -> &mut String {
    if !matches!(word.last(), Some(Part::Text(_))) {
        word.push(Part::Text(String::new()));
    }
    match word.last_mut() {
        Some(Part::Text(text)) => text,
        _ => unreachable!("the last part is a text"),
    }
}

fn double_quoted(characters: &mut Peekable<Chars<'_>>, word: &mut Word) -> Result<(), String> {
    text_in(word);
    loop {
        match characters
            .next()
            .ok_or("a quote that does not end on its line")?
        {
            '"' => return Ok(()),
            '\\' => {
                let escaped = characters.next_if(|c| "\"\\$`".contains(*c));
                text_in(word).push(escaped.unwrap_or('\\'));
            }
            '`' => {
                let text = until('`', characters)?;
                word.push(Part::Unknown(format!("`{text}`")));
            }
            '$' => word.push(dollar(characters, true)?),
            c => text_in(word).push(c),
        }
    }
}

/// What stands behind a dollar sign: `NAME`, `{NAME}`, or something that only a
/// shell knows.
fn dollar(characters: &mut Peekable<Chars<'_>>, is_quoted: bool) -> Result<Part, String> {
    let is_letter = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    match characters.peek() {
        Some('{') => {
            characters.next();
            let name = until('}', characters)?;
            if name.chars().all(|c| is_letter(&c)) && !name.is_empty() {
                Ok(Part::Variable { name, is_quoted })
            } else {
                Ok(Part::Unknown(format!("${{{name}}}")))
            }
        }
        Some('(') => {
            let mut depth = 0_usize;
            let mut text = String::from("$");
            for c in characters.by_ref() {
                text.push(c);
                match c {
                    '(' => depth += 1,
                    ')' if depth == 1 => return Ok(Part::Unknown(text)),
                    ')' => depth -= 1,
                    _ => {}
                }
            }
            Err("a $( that does not end on its line".into())
        }
        Some(c) if is_letter(c) => {
            let mut name = String::new();
            while let Some(c) = characters.next_if(is_letter) {
                name.push(c);
                // `$1x` is `$1` and `x`.
                if name.starts_with(|c: char| c.is_ascii_digit()) {
                    break;
                }
            }
            Ok(Part::Variable { name, is_quoted })
        }
        Some(c) if "#@*?$!-".contains(*c) => {
            let text = format!("${c}");
            characters.next();
            Ok(Part::Unknown(text))
        }
        _ => Ok(Part::Text("$".into())),
    }
}

fn until(end: char, characters: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    for c in characters.by_ref() {
        if c == end {
            return Ok(text);
        }
        text.push(c);
    }
    Err(format!(
        "a {} that does not end on its line",
        match end {
            '}' => "${",
            '`' => "backquote",
            _ => "quote",
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line: words`, with what is unknown in brackets.
    fn shown(text: &str) -> Result<Vec<String>, String> {
        let commands = commands(text, "s").map_err(|error| error.to_string())?;
        let commands = commands.iter().map(|command| {
            let unknown = command.unknown.as_ref();
            let unknown = unknown.map(|text| format!(" [{text}]"));
            let (line, words) = (command.place.line, command.words.join("|"));
            format!("{line}: {words}{}", unknown.unwrap_or_default())
        });
        Ok(commands.collect())
    }

    #[test]
    fn words_quotes_and_variables() {
        let text = "#!/bin/sh\nA=1 ; B='x y'\nexport C=\"$A-${B}\" # comment\n\
                    run $A \"$B\" $B ${C} 'q $A' a\\ b \"\\$A\" c#d\n";
        assert_eq!(
            shown(text).unwrap(),
            ["4: run|1|x y|x|y|1-x|y|q $A|a b|$A|c#d"]
        );
    }

    #[test]
    fn what_only_a_shell_knows_is_unknown() {
        assert_eq!(
            shown("A=$(id -u)\nB=`hostname`\nrun $A\nrun \"$B\"\nrun $1 ${2:-x} $C $? $\n")
                .unwrap(),
            [
                "3: run| [$A]",
                "4: run| [$B]",
                "5: run||||| $ [$1]"
                    .replace(' ', "")
                    .replace("5:", "5: ")
                    .replace("[$1]", " [$1]")
                    .as_str()
            ]
        );
        assert_eq!(shown("A=1\nA=`x`\nrun $A").unwrap(), ["3: run| [$A]"]);
    }

    #[test]
    fn several_commands_stand_on_a_line() {
        assert_eq!(
            shown("a 1; b 2 && c 3 || d|e &\nif f; then sudo g >/dev/null 2>&1; fi\nh <i \\\n j")
                .unwrap(),
            [
                "1: a|1", "1: b|2", "1: c|3", "1: d", "1: e", "2: if|f", "2: g", "2: fi", "3: h|j"
            ]
        );
    }

    #[test]
    fn what_does_not_end_is_told() {
        for text in [
            "\na 'b",
            "\na \"b",
            "\na `b",
            "\na $(b",
            "\na ${b",
            "\na \"$(b\"",
        ] {
            let error = shown(text).unwrap_err();
            assert!(
                error.starts_with("s:2: ") && error.ends_with("that does not end on its line"),
                "{text}: {error}"
            );
        }
        assert!(shown(&format!("A=x\n{}", "A=$A$A\n".repeat(40))).is_err());
    }
}
