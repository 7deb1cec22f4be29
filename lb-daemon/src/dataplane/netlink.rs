//! Single questions to the kernel over netlink, answered before the call
//! returns: attaching is not a matter for tasks and subscriptions. Layouts:
//! include/uapi/linux/netlink.h and genetlink.h (Linux 6.1).

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_CAPPED: u16 = 0x100;
/// In the error's attributes: the kernel's own words.
const NLMSGERR_ATTR_MSG: u16 = 1;

const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = (1 << 14) - 1;

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// The kernel does not do what it was asked.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: io::Error,
    /// What the kernel or a driver says to it.
    pub(super) words: Option<String>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { error, words: None }
    }
}

/// Asks in the calling thread's network namespace; the bodies of the answer's
/// messages.
pub(super) fn ask(protocol: isize, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    exchange(protocol, &message(kind, NLM_F_ACK, body))
}

/// Asks for all objects of a kind.
pub(super) fn list(protocol: isize, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    exchange(protocol, &message(kind, NLM_F_DUMP, body))
}

fn exchange(protocol: isize, question: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    let mut socket = Socket::new(protocol)?;
    socket.set_ext_ack(true)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers within the calls that send and receive.
    socket.set_non_blocking(true)?;
    socket.send(question, 0)?;
    let mut bodies = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for (kind, flags, body) in messages(&datagram) {
            match kind {
                NLMSG_ERROR => return acknowledged(flags, body).map(|()| bodies),
                NLMSG_DONE => return Ok(bodies),
                _ => bodies.push(body.to_vec()),
            }
        }
    }
}

/// Asks a generic netlink family, known by its name, in the version 1 that all
/// of ours have; the attributes of the answer's messages.
pub(super) fn ask_family(
    family: &str,
    command: u8,
    attributes: &[u8],
) -> Result<Vec<Vec<u8>>, Refused> {
    let name = attribute(CTRL_ATTR_FAMILY_NAME, format!("{family}\0").as_bytes());
    let found = ask_generic(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let id = found
        .iter()
        .flat_map(|answer| self::attributes(answer))
        .find_map(|(kind, value)| match kind {
            CTRL_ATTR_FAMILY_ID => value.try_into().ok().map(u16::from_ne_bytes),
            _ => None,
        })
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    ask_generic(id, command, attributes)
}

fn ask_generic(family: u16, command: u8, attributes: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    const GENL_HEADER_BYTES: usize = 4;
    let body = [&[command, 1, 0, 0], attributes].concat();
    let answers = ask(NETLINK_GENERIC, family, &body)?;
    let without_header = |answer: Vec<u8>| answer.get(GENL_HEADER_BYTES..).map(<[u8]>::to_vec);
    Ok(answers.into_iter().filter_map(without_header).collect())
}

/// An attribute, padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE_BYTES + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute made of attributes.
pub(super) fn nest(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &attributes.concat())
}

/// The attributes in `bytes`, up to one that is cut off.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence number and port: one question a socket, and the kernel knows
    // whose socket it is.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Kind, flags and body of each message in a datagram.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let (kind, flags) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
        let body = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, flags, body))
    })
}

/// Reads `struct nlmsgerr`: a negative error number, the header of the question
/// (all of the question unless capped), attributes.
fn acknowledged(flags: u16, body: &[u8]) -> Result<(), Refused> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let (number, question) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
    let number = i32::from_ne_bytes(*number);
    if number == 0 {
        return Ok(());
    }
    let echoed = if flags & NLM_F_CAPPED != 0 {
        HEADER_BYTES
    } else {
        let length = question.get(..4).and_then(|bytes| bytes.try_into().ok());
        let length = u32::from_ne_bytes(length.ok_or_else(malformed)?);
        (length as usize).next_multiple_of(4)
    };
    let mut words = None;
    if flags & NLM_F_ACK_TLVS != 0 {
        let said = attributes(question.get(echoed..).unwrap_or_default());
        words = said
            .filter(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
            .map(|(_, text)| String::from_utf8_lossy(text))
            .map(|text| text.trim_end_matches('\0').to_owned())
            .next();
    }
    Err(Refused {
        error: io::Error::from_raw_os_error(number.saturating_neg()),
        words,
    })
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..offset + 2)?;
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_put_in() {
        let inner = [attribute(1, b"abc"), attribute(2, &7_u32.to_ne_bytes())];
        let bytes = [nest(43, &inner), attribute(3, &[])].concat();
        assert_eq!(bytes.len() % 4, 0);
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], (3, &[][..]));
        let (43, nested) = found[0] else {
            panic!("{found:?}");
        };
        let nested: Vec<_> = attributes(nested).collect();
        assert_eq!(nested, [(1, &b"abc"[..]), (2, &7_u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn what_is_cut_off_ends_the_list() {
        let bytes = [attribute(1, b"abcd"), attribute(2, b"efgh")].concat();
        for length in 0..bytes.len() {
            assert!(attributes(&bytes[..length]).count() <= 1, "{length}");
        }
        // Shorter than itself: no endless loop.
        assert_eq!(attributes(&[0, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn a_refusal_has_the_kernels_words() {
        let question = message(19, NLM_F_ACK, &[0; 16]);
        let text = attribute(NLMSGERR_ATTR_MSG, b"too large\0");
        let number = (-libc::EOPNOTSUPP).to_ne_bytes();
        let whole = [&number[..], &question, &text].concat();
        let refused = acknowledged(NLM_F_ACK_TLVS, &whole).unwrap_err();
        assert_eq!(refused.error.raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(refused.words.as_deref(), Some("too large"));

        let capped = [&number[..], &question[..HEADER_BYTES], &text].concat();
        let refused = acknowledged(NLM_F_ACK_TLVS | NLM_F_CAPPED, &capped).unwrap_err();
        assert_eq!(refused.words.as_deref(), Some("too large"));
        let refused = acknowledged(0, &whole).unwrap_err();
        assert_eq!(refused.words, None);
        assert!(acknowledged(0, &[0; 20]).is_ok());
        assert!(acknowledged(0, &[0; 3]).is_err());
    }

    #[test]
    fn the_kernel_answers() {
        use rtnetlink::sys::protocols::NETLINK_ROUTE;
        const RTM_GETLINK: u16 = 18;
        // struct ifinfomsg: loopback is interface 1.
        let mut body = [0; 16];
        body[4] = 1;
        assert_eq!(ask(NETLINK_ROUTE, RTM_GETLINK, &body).unwrap().len(), 1);
        assert!(
            !list(NETLINK_ROUTE, RTM_GETLINK, &[0; 16])
                .unwrap()
                .is_empty()
        );
        body[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let refused = ask(NETLINK_ROUTE, RTM_GETLINK, &body).unwrap_err();
        assert_eq!(refused.error.raw_os_error(), Some(libc::ENODEV));
        assert!(ask_family("no-such-family", 1, &[]).is_err());
    }
}
