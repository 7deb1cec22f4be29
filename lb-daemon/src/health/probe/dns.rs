//! `dns`: a query over UDP has an answer of its type (RFC 1035).

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};

use super::{Target, reason, socket};
use crate::config::health::{Dns, Record};

/// No answer without EDNS is longer than 512 (RFC 1035 section 4.2.1); some
/// servers do not keep to it.
const MAX_ANSWER: usize = 4096;

#[derive(Debug)]
pub(super) struct Question {
    query: Query,
}

impl Question {
    /// # Errors
    /// The name cannot be asked for.
    pub(super) fn new(dns: &Dns) -> Result<Self, String> {
        let name = Name::from_ascii(&dns.query);
        let mut name = name.map_err(|_| format!("{:?} is not a domain name", dns.query))?;
        name.set_fqdn(true);
        let query = Query::query(name, record_type(dns.record));
        Ok(Self { query })
    }

    pub(super) async fn ask(&self, target: &Target) -> Result<(), String> {
        let id = fastrand::u16(..);
        let mut message = Message::new();
        message
            .set_id(id)
            .set_message_type(MessageType::Query)
            .set_op_code(OpCode::Query)
            .set_recursion_desired(true)
            .add_query(self.query.clone());
        let query = message.to_vec();
        let query = query.map_err(|_| "the query cannot be written")?;
        let socket = socket::udp(target).map_err(|error| reason::of(&error))?;
        let sent = socket.send(&query).await;
        sent.map_err(|error| reason::of(&error))?;
        let mut datagram = Vec::with_capacity(MAX_ANSWER);
        loop {
            datagram.clear();
            let received = socket.recv_buf(&mut datagram).await;
            received.map_err(|error| reason::of(&error))?;
            // Another id: it answers no question of this socket's.
            if datagram.starts_with(&id.to_be_bytes()) {
                return self.judge(&datagram);
            }
        }
    }

    fn judge(&self, datagram: &[u8]) -> Result<(), String> {
        let malformed = |_| "answer is malformed".to_owned();
        let answer = Message::from_vec(datagram).map_err(malformed)?;
        if answer.message_type() != MessageType::Response {
            return Err("answer is malformed".into());
        }
        if answer.response_code() != ResponseCode::NoError {
            return Err(format!("dns status {}", code(answer.response_code())));
        }
        if answer.queries() != std::slice::from_ref(&self.query) {
            return Err("answer is for another question".into());
        }
        let wanted = self.query.query_type();
        let has = answer.answers().iter().any(|r| r.record_type() == wanted);
        // One that does not fit is there all the same.
        if has || answer.truncated() {
            Ok(())
        } else {
            Err(format!("answer has no {wanted} record"))
        }
    }
}

const fn record_type(record: Record) -> RecordType {
    match record {
        Record::A => RecordType::A,
        Record::Aaaa => RecordType::AAAA,
        Record::Cname => RecordType::CNAME,
        Record::Mx => RecordType::MX,
        Record::Ns => RecordType::NS,
        Record::Ptr => RecordType::PTR,
        Record::Soa => RecordType::SOA,
        Record::Srv => RecordType::SRV,
        Record::Txt => RecordType::TXT,
    }
}

/// As of IANA's registry and `dig`.
fn code(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        other => u16::from(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use hickory_proto::rr::{RData, Record as ResourceRecord};
    use tokio::net::UdpSocket;

    use super::super::testing::target;
    use super::*;

    /// What becomes of a query in its answer.
    type Change = fn(&mut Message);

    /// Answers a query by each of these.
    async fn server(answers: Vec<Change>) -> Target {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let asked = target(socket.local_addr().unwrap());
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            for change in answers {
                let mut message = Message::from_vec(&buffer[..length]).unwrap();
                message.set_message_type(MessageType::Response);
                change(&mut message);
                let answer = message.to_vec().unwrap();
                socket.send_to(&answer, peer).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        asked
    }

    async fn ask(target: &Target) -> Result<(), String> {
        let query = "example.com".into();
        let record = Record::A;
        Question::new(&Dns { query, record })
            .unwrap()
            .ask(target)
            .await
    }

    fn answer(message: &mut Message) {
        let name = message.queries()[0].name().clone();
        let data = RData::A(Ipv4Addr::LOCALHOST.into());
        message.add_answer(ResourceRecord::from_rdata(name, 60, data));
    }

    fn another_id(message: &mut Message) {
        message.set_id(message.id() ^ 1);
    }

    #[tokio::test]
    async fn answered() {
        ask(&server(vec![answer]).await).await.unwrap();
        // An answer that is not ours is waited past.
        ask(&server(vec![another_id, answer]).await).await.unwrap();
        let truncated: Change = |message| {
            message.set_truncated(true);
        };
        ask(&server(vec![truncated]).await).await.unwrap();
    }

    #[tokio::test]
    async fn failures() {
        let cases: [(Change, &str); 5] = [
            (
                |m| {
                    m.set_response_code(ResponseCode::ServFail);
                },
                "dns status SERVFAIL",
            ),
            (
                |m| {
                    m.set_response_code(ResponseCode::NXDomain);
                },
                "dns status NXDOMAIN",
            ),
            (|_| {}, "answer has no A record"),
            (
                |m| {
                    m.set_message_type(MessageType::Query);
                },
                "answer is malformed",
            ),
            (
                |m| {
                    let mut query = m.take_queries().remove(0);
                    query.set_query_type(RecordType::AAAA);
                    m.add_query(query);
                },
                "answer is for another question",
            ),
        ];
        for (change, error) in cases {
            assert_eq!(ask(&server(vec![change]).await).await.unwrap_err(), error);
        }
    }

    #[tokio::test]
    async fn garbage_and_silence() {
        let question = Question::new(&Dns {
            query: "example.com".into(),
            record: Record::A,
        });
        let error = question.unwrap().judge(&[0xff; 40]).unwrap_err();
        assert_eq!(error, "answer is malformed");
        let silent = server(vec![another_id]).await;
        let asked = tokio::time::timeout(Duration::from_millis(100), ask(&silent));
        assert!(asked.await.is_err());
    }
}
