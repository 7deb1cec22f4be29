//! `lbctl import`: what the configuration of another director means as
//! `lbd.toml`.
//!
//! ```text
//! keepalived.conf ─ keepalived ─┐
//! ipvsadm -S, scripts ─ ipvsadm ┼─ document ─ fit (our rules) ─ output ─ TOML
//! lvs.cf ──────────── lvs_cf ───┘        └──────┴─ warnings
//! ```
//!
//! All of it is pure: text in, text and warnings out. What is included is asked
//! of [`source::Files`]. What cannot be carried over is warned of, never dropped
//! in silence; what cannot be understood is an error with its line.

mod argv;
mod document;
mod fit;
pub mod glob;
mod iptables;
mod ipvsadm;
mod keepalived;
mod lvs_cf;
mod output;
mod shell;
pub mod source;
#[cfg(test)]
mod tests;
mod toml_text;

use self::{
    document::Document,
    source::{Files, ImportError, Place, Warning, Warnings},
};

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `keepalived.conf`.
    Keepalived,
    /// What `ipvsadm -S` prints, or a script that calls ipvsadm.
    Ipvsadm,
    /// Piranha's `lvs.cf`.
    LvsCf,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// An `lbd.toml`.
    pub toml: String,
    /// What it does not say, and what it says differently; in the order of the
    /// lines.
    pub warnings: Vec<Warning>,
}

/// Reads `text`, the file `file`. `interfaces`, if there are any, take the place
/// of those that the file names.
pub fn import(
    format: Format,
    text: &str,
    file: &str,
    files: &dyn Files,
    interfaces: &[String],
) -> Result<Imported, ImportError> {
    let mut warnings = Warnings::default();
    let mut document = match format {
        Format::Keepalived => keepalived::read(text, file, files, &mut warnings)?,
        Format::Ipvsadm => ipvsadm::read(text, file, &mut warnings)?,
        Format::LvsCf => lvs_cf::read(text, file, &mut warnings)?,
    };
    settle_interfaces(&mut document, file, interfaces, &mut warnings);
    fit::fit(&mut document, &mut warnings);
    Ok(Imported {
        toml: output::render(&document, file),
        warnings: warnings.in_order(),
    })
}

/// A name that the configuration accepts and no machine has.
const NO_INTERFACE: &str = "CHANGE-ME";

fn settle_interfaces(
    document: &mut Document,
    file: &str,
    given: &[String],
    warnings: &mut Warnings,
) {
    if !given.is_empty() {
        document.interfaces.clear();
        for name in given {
            document.add_interface(name);
        }
    }
    // docs/operations.md, Interfaces: the tag is read by the program.
    for name in document.interfaces.iter().filter(|name| name.contains('.')) {
        let text = format!(
            "{name} seems to be a VLAN interface: name the port that it is on by --interface"
        );
        warnings.add(&Place::new(file, 1), text);
    }
    if document.interfaces.is_empty() {
        document.interfaces.push(NO_INTERFACE.into());
        let place = Place::new(file, 1);
        warnings.add(
            &place,
            format!(
                "no interface is known: {NO_INTERFACE} stands in director.interfaces; put yours \
                 there, or name it by --interface"
            ),
        );
    }
}
