//! The SOAP date service: WSDL, its operations, and their responses. SOAP 1.1, document/literal.
//! The date services of UC3M's students differ in the name of the one operation alone.
//!
//! No document type, no entities but the five of XML, bounded depth. Faults are ordinary responses.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::limits;

/// The namespace of the service, which UC3M took from the examples of zeep.
const SERVICE: &str = "http://tests.python-zeep.org/";
/// The namespace of SOAP 1.1.
const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The names of the operation; UC3M's own is the first.
const OPERATIONS: [&str; 4] = ["datetime", "get_date", "get_datetime", "obtener_fecha_hora"];

/// An operation of the date service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateOperation(&'static str);

impl DateOperation {
    fn named(name: &str) -> Option<DateOperation> {
        OPERATIONS.into_iter().find(|known| *known == name).map(DateOperation)
    }
}

/// The reason for a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoapFault {
    /// An envelope of another SOAP version.
    Version,
    /// An unknown header with `mustUnderstand`.
    Header,
    /// The request is wrong; the text is the cause.
    Client(Cow<'static, str>),
    /// The server failed; the text is the cause.
    Server(String),
}

/// The element that contains the reader's position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ServiceAddress {
    Envelope,
    Header,
    /// Within an ignored element.
    Other,
    Body,
    Operation,
}

/// Decode a request: an envelope around an operation. `action` is the SOAPAction header, if any.
///
/// # Errors
/// The fault of the response.
pub fn decode(action: Option<&str>, body: &[u8]) -> Result<DateOperation, SoapFault> {
    let named =
        action.map(|action| action.trim().trim_matches('"')).filter(|action| !action.is_empty());
    let named = named.map(|named| {
        let name = named.strip_prefix(SERVICE).unwrap_or(named);
        DateOperation::named(name).ok_or_else(|| wrong("no such operation"))
    });
    let named = named.transpose()?;
    let text = std::str::from_utf8(body).map_err(|_| wrong("this is no UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains(|c: char| {
        (c.is_ascii_control() && !matches!(c, '\t' | '\r' | '\n'))
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    }) {
        return Err(wrong("a character that XML does not have"));
    }
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.check_comments = true;
    let mut request = DateRequest::default();
    for first in std::iter::once(true).chain(std::iter::repeat(false)) {
        match reader.read_event() {
            Ok(Event::Decl(decl)) if first => match decl.encoding() {
                None => {}
                Some(Ok(name))
                    if ["utf-8", "us-ascii"]
                        .iter()
                        .any(|known| name.eq_ignore_ascii_case(known)) => {}
                Some(_) => return Err(wrong("UTF-8 only")),
            },
            Ok(Event::Start(tag)) => request.on_start(&tag)?,
            Ok(Event::End(_)) => request.on_end(),
            Ok(Event::Text(text)) => request.on_text(&text.into_inner())?,
            Ok(Event::CData(text)) if request.is_in_an_element() => {
                request.on_text(&text.into_inner())?
            }
            Ok(Event::GeneralRef(name)) => {
                // Entities are never expanded, so nothing can grow.
                let name = name.into_inner();
                let plain =
                    ["lt", "gt", "amp", "apos", "quot"].contains(&&*name) || name.starts_with('#');
                if !plain || !request.is_in_an_element() {
                    return Err(wrong("no entities here"));
                }
                request.on_text(&name)?;
            }
            Ok(Event::Comment(_)) => {}
            Ok(Event::Eof) => break,
            Ok(Event::DocType(_)) => return Err(wrong("no document types here")),
            Ok(_) => return Err(wrong("no processing instructions here")),
            Err(_) => return Err(wrong("this is no XML")),
        }
    }
    if !request.is_over() {
        return Err(wrong("the envelope does not end"));
    }
    match (request.asked, named) {
        (None, _) => Err(wrong("no operation")),
        (Some(asked), Some(named)) if asked != named => Err(wrong("SOAPAction names another")),
        (Some(asked), _) => Ok(asked),
    }
}

/// Progress of the reader.
#[derive(Default)]
struct DateRequest {
    inside: Vec<ServiceAddress>,
    /// Namespace prefixes, with the depth of their declaration.
    names: Vec<(usize, String, String)>,
    began: bool,
    header: bool,
    body: bool,
    asked: Option<DateOperation>,
}

impl DateRequest {
    fn on_start(&mut self, tag: &BytesStart<'_>) -> Result<(), SoapFault> {
        let depth = self.inside.len();
        if depth >= limits::SOAP_DEPTH {
            return Err(wrong("too deep"));
        }
        let mut attributes = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| wrong("this is no XML"))?;
            let value = attribute
                .normalized_value(XmlVersion::default())
                .map_err(|_| wrong("no entities here"))?
                .into_owned();
            attributes.push((attribute.key.into_inner().to_owned(), value));
            if attributes.len() > limits::SOAP_ATTRIBUTES {
                return Err(wrong("too many attributes"));
            }
        }
        // Namespaces below the operation are never looked up.
        let above = self.inside.last().copied();
        if !matches!(above, Some(ServiceAddress::Other | ServiceAddress::Operation)) {
            for (key, value) in &attributes {
                if let Some(prefix) = key.strip_prefix("xmlns:").or((key == "xmlns").then_some(""))
                {
                    self.names.push((depth, prefix.to_owned(), value.clone()));
                }
            }
        }
        let name = tag.name();
        let (prefix, local) = name.into_inner().split_once(':').unwrap_or(("", name.into_inner()));
        let place = match above {
            None if self.began => return Err(wrong("something follows the envelope")),
            None => self.envelope(prefix, local)?,
            Some(ServiceAddress::Envelope) => match (self.meaning(prefix)?, local) {
                (ENVELOPE, "Header") if !self.header && !self.body => {
                    self.header = true;
                    ServiceAddress::Header
                }
                (ENVELOPE, "Body") if !self.body => {
                    self.body = true;
                    ServiceAddress::Body
                }
                _ if self.body => ServiceAddress::Other,
                _ => return Err(wrong("an envelope holds a header and a body")),
            },
            Some(ServiceAddress::Header) => {
                self.understands(&attributes)?;
                ServiceAddress::Other
            }
            Some(ServiceAddress::Body) if self.asked.is_some() => {
                return Err(wrong("one question at a time"));
            }
            // A hand-written request may omit the namespace; another namespace is another
            // operation.
            Some(ServiceAddress::Body) => {
                match (self.meaning(prefix)?, DateOperation::named(local)) {
                    (SERVICE | "", Some(operation)) => {
                        self.asked = Some(operation);
                        ServiceAddress::Operation
                    }
                    _ => return Err(wrong("no such operation")),
                }
            }
            Some(ServiceAddress::Operation) => return Err(wrong("an operation is empty")),
            Some(ServiceAddress::Other) => ServiceAddress::Other,
        };
        self.inside.push(place);
        Ok(())
    }

    fn envelope(&mut self, prefix: &str, local: &str) -> Result<ServiceAddress, SoapFault> {
        self.began = true;
        match (self.meaning(prefix)?, local) {
            (ENVELOPE, "Envelope") => Ok(ServiceAddress::Envelope),
            (_, "Envelope") => Err(SoapFault::Version),
            _ => Err(wrong("this is no SOAP envelope")),
        }
    }

    /// No header is understood, so a header with `mustUnderstand` is a fault.
    fn understands(&self, attributes: &[(String, String)]) -> Result<(), SoapFault> {
        for (key, value) in attributes {
            if let Some((prefix, "mustUnderstand")) = key.split_once(':')
                && self.meaning(prefix)? == ENVELOPE
                && matches!(value.trim(), "1" | "true")
            {
                return Err(SoapFault::Header);
            }
        }
        Ok(())
    }

    fn on_end(&mut self) {
        self.inside.pop();
        let depth = self.inside.len();
        self.names.retain(|(said, ..)| *said < depth);
    }

    fn on_text(&self, text: &str) -> Result<(), SoapFault> {
        let heeds = self.inside.last() != Some(&ServiceAddress::Other);
        if heeds && text.contains(|c: char| !matches!(c, ' ' | '\t' | '\r' | '\n')) {
            return Err(wrong("text where none belongs"));
        }
        Ok(())
    }

    /// The namespace of a prefix.
    fn meaning(&self, prefix: &str) -> Result<&str, SoapFault> {
        match self.names.iter().rev().find(|(_, known, _)| known == prefix) {
            Some((.., namespace)) => Ok(namespace),
            None if prefix.is_empty() => Ok(""),
            None => Err(wrong("a prefix that means nothing")),
        }
    }

    fn is_in_an_element(&self) -> bool {
        !self.inside.is_empty()
    }

    fn is_over(&self) -> bool {
        self.began && self.inside.is_empty()
    }
}

fn wrong(text: &'static str) -> SoapFault {
    SoapFault::Client(Cow::Borrowed(text))
}

/// The response with the date.
#[must_use]
pub fn date(DateOperation(name): DateOperation, date: &str) -> String {
    let date = escape(date);
    envelope(&format!(
        "<tns:{name}Response xmlns:tns=\"{SERVICE}\"><tns:{name}Result>{date}</tns:{name}Result></tns:{name}Response>"
    ))
}

/// The response with a fault.
#[must_use]
pub fn fault(fault: &SoapFault) -> String {
    let (code, text): (&str, &str) = match fault {
        SoapFault::Version => ("VersionMismatch", "SOAP 1.1 only"),
        SoapFault::Header => ("MustUnderstand", "no header is understood here"),
        SoapFault::Client(text) => ("Client", text),
        SoapFault::Server(text) => ("Server", text),
    };
    let text = escape(text);
    envelope(&format!(
        "<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{text}</faultstring></soap:Fault>"
    ))
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope xmlns:soap=\"{ENVELOPE}\"><soap:Body>{body}</soap:Body></soap:Envelope>\n"
    )
}

/// `HOST[:PORT]` of a Host header, if valid; nothing else may enter the WSDL.
#[must_use]
pub fn host(text: &str) -> Option<&str> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            (
                inner.parse::<std::net::Ipv6Addr>().is_ok().then_some(inner)?,
                port.strip_prefix(':').or(port.is_empty().then_some(""))?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let named = !name.is_empty() && name.len() <= limits::NAME_BYTES && name.chars().all(plain);
    let ported = port.len() <= 5
        && port.bytes().all(|b| b.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok());
    (named && ported).then_some(text)
}

/// A text for each operation.
fn each(of: impl Fn(&str) -> String) -> String {
    OPERATIONS.into_iter().map(of).collect()
}

/// The WSDL with the address known to the client.
#[must_use]
pub fn wsdl(host: &str) -> String {
    let host = escape(host);
    let elements = each(|name| {
        format!(
            r#"
      <xs:element name="{name}"><xs:complexType/></xs:element>
      <xs:element name="{name}Response">
        <xs:complexType><xs:sequence><xs:element name="{name}Result" type="xs:string"/></xs:sequence></xs:complexType>
      </xs:element>"#
        )
    });
    let messages = each(|name| {
        format!(
            r#"
  <wsdl:message name="{name}"><wsdl:part name="parameters" element="tns:{name}"/></wsdl:message>
  <wsdl:message name="{name}Response"><wsdl:part name="parameters" element="tns:{name}Response"/></wsdl:message>"#
        )
    });
    let operations = each(|name| {
        format!(
            r#"
    <wsdl:operation name="{name}">
      <wsdl:input message="tns:{name}"/>
      <wsdl:output message="tns:{name}Response"/>
    </wsdl:operation>"#
        )
    });
    let bindings = each(|name| {
        format!(
            r#"
    <wsdl:operation name="{name}">
      <soap:operation soapAction="{name}" style="document"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>"#
        )
    });
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions name="Date" targetNamespace="{SERVICE}" xmlns:tns="{SERVICE}" xmlns:xs="http://www.w3.org/2001/XMLSchema"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/">
  <wsdl:types>
    <xs:schema targetNamespace="{SERVICE}" elementFormDefault="qualified">{elements}
    </xs:schema>
  </wsdl:types>{messages}
  <wsdl:portType name="Date">{operations}
  </wsdl:portType>
  <wsdl:binding name="Date" type="tns:Date">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>{bindings}
  </wsdl:binding>
  <wsdl:service name="Date">
    <wsdl:port name="Date" binding="tns:Date"><soap:address location="http://{host}/"/></wsdl:port>
  </wsdl:service>
</wsdl:definitions>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(body: &str) -> Result<(), SoapFault> {
        decode(Some("\"datetime\""), body.as_bytes()).map(drop)
    }

    fn around(inner: &str) -> String {
        format!(
            "<e:Envelope xmlns:e=\"{ENVELOPE}\" xmlns:t=\"{SERVICE}\"><e:Body>{inner}</e:Body></e:Envelope>"
        )
    }

    #[test]
    fn requests_of_any_spelling_are_decoded() {
        let zeep = "<?xml version='1.0' encoding='utf-8'?>\n<soap-env:Envelope xmlns:soap-env=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap-env:Body><ns0:datetime xmlns:ns0=\"http://tests.python-zeep.org/\"/></soap-env:Body></soap-env:Envelope>";
        for body in [
            zeep.to_owned(),
            format!("\u{feff}{zeep}"),
            around("<t:datetime/>"),
            around(" <!-- now --> <t:datetime>\r\n</t:datetime>\n"),
            around("<datetime/>"),
            around(&format!("<datetime xmlns=\"{SERVICE}\"></datetime>")),
            format!(
                "<Envelope xmlns='{ENVELOPE}'><Header><x xmlns='y'>text &amp; more<z/></x></Header><Body><datetime xmlns='{SERVICE}'/></Body></Envelope>"
            ),
            format!(
                "<e:Envelope xmlns:e='{ENVELOPE}'><e:Body><datetime/></e:Body><x>1</x></e:Envelope>"
            ),
        ] {
            assert_eq!(asks(&body), Ok(()), "{body}");
        }
        for action in [
            None,
            Some(""),
            Some("\"\""),
            Some("datetime"),
            Some("\"http://tests.python-zeep.org/datetime\""),
        ] {
            assert_eq!(
                decode(action, zeep.as_bytes()),
                Ok(DateOperation("datetime")),
                "{action:?}"
            );
        }
        for name in OPERATIONS {
            let asked = Ok(DateOperation(name));
            let body = around(&format!("<t:{name}/>"));
            for action in [name.to_owned(), format!("\"{SERVICE}{name}\""), String::new()] {
                assert_eq!(decode(Some(&action), body.as_bytes()), asked, "{action}");
            }
            assert!(wsdl("h:1").contains(&format!("soapAction=\"{name}\"")));
            let text = date(DateOperation(name), "1");
            assert!(text.contains(&format!("<tns:{name}Result>1</tns:{name}Result>")), "{text}");
        }
        let other = around("<t:get_date/>");
        assert_eq!(
            decode(Some("get_datetime"), other.as_bytes()),
            Err(wrong("SOAPAction names another"))
        );
        assert_eq!(decode(Some("\"shutdown\""), zeep.as_bytes()), Err(wrong("no such operation")));
    }

    #[test]
    fn each_wrong_request_gets_its_fault() {
        let deep = format!("<e:Envelope xmlns:e='{ENVELOPE}'><e:Header>{}", "<a>".repeat(40));
        let many: String = (0..40).map(|n| format!(" a{n}='1'")).collect();
        let cases = [
            (around("<t:time/>"), wrong("no such operation")),
            (around("<x:datetime xmlns:x='urn:x'/>"), wrong("no such operation")),
            (around(""), wrong("no operation")),
            (around("<t:datetime/><t:datetime/>"), wrong("one question at a time")),
            (around("<t:datetime><a/></t:datetime>"), wrong("an operation is empty")),
            (around("<t:datetime>a</t:datetime>"), wrong("text where none belongs")),
            (around("<t:datetime><![CDATA[a]]></t:datetime>"), wrong("text where none belongs")),
            (around("<t:datetime>&#97;</t:datetime>"), wrong("text where none belongs")),
            (around("&bomb;"), wrong("no entities here")),
            (around("<t:datetime a='&bomb;'/>"), wrong("no entities here")),
            (around("<u:datetime/>"), wrong("a prefix that means nothing")),
            (around(&format!("<t:datetime{many}/>")), wrong("too many attributes")),
            (around("<t:datetime a='1' a='2'/>"), wrong("this is no XML")),
            (around("<t:datetime></t:date>"), wrong("this is no XML")),
            (around("<?php 1 ?><t:datetime/>"), wrong("no processing instructions here")),
            (
                format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{}", around("<t:datetime/>")),
                wrong("no document types here"),
            ),
            (format!("{}x", around("<t:datetime/>")), wrong("text where none belongs")),
            (format!("{0}{0}", around("<t:datetime/>")), wrong("something follows the envelope")),
            (
                around("<t:datetime/>").replace("</e:Envelope>", ""),
                wrong("the envelope does not end"),
            ),
            (
                around("<t:datetime/>").replace("soap/envelope/", "soap/envelope"),
                SoapFault::Version,
            ),
            (
                format!("<?xml version='1.0' encoding='utf-16'?>{}", around("<t:datetime/>")),
                wrong("UTF-8 only"),
            ),
            (around("<t:datetime/>\u{1}"), wrong("a character that XML does not have")),
            (
                format!(
                    "<e:Envelope xmlns:e='{ENVELOPE}'><e:Header><x e:mustUnderstand='1'/></e:Header></e:Envelope>"
                ),
                SoapFault::Header,
            ),
            (
                format!("<e:Envelope xmlns:e='{ENVELOPE}'><x/></e:Envelope>"),
                wrong("an envelope holds a header and a body"),
            ),
            (deep, wrong("too deep")),
            ("<html/>".into(), wrong("this is no SOAP envelope")),
            ("{\"json\": 1}".into(), wrong("text where none belongs")),
            (String::new(), wrong("the envelope does not end")),
        ];
        for (body, fault) in cases {
            assert_eq!(asks(&body), Err(fault), "{body}");
        }
        assert_eq!(decode(None, b"\xff\xfe<\0"), Err(wrong("this is no UTF-8")));
    }

    #[test]
    fn hostile_bodies_neither_panic_nor_take_long() {
        let whole = around("<t:datetime a='1'>&#10;</t:datetime>");
        for cut in 0..whole.len() {
            let _ = asks(&whole[..cut]);
            let mut bytes = whole.clone().into_bytes();
            for byte in [b'<', b'>', b'&', b'"', 0xff] {
                bytes[cut] = byte;
                let _ = decode(None, &bytes);
            }
        }
        let _ = asks(&format!(
            "<e:Envelope xmlns:e='{ENVELOPE}'><e:Header>{}",
            "<a/>".repeat(limits::SOAP_BYTES / 4)
        ));
        let _ = asks(&format!("<e:Envelope {}", "a='' ".repeat(limits::SOAP_BYTES / 5)));
    }

    #[test]
    fn answers_are_escaped() {
        assert!(
            date(DateOperation("datetime"), "<&>")
                .contains("<tns:datetimeResult>&lt;&amp;&gt;</tns:datetimeResult>")
        );
        assert!(
            fault(&SoapFault::Server("</x>".into())).contains(
                "<faultcode>soap:Server</faultcode><faultstring>&lt;/x&gt;</faultstring>"
            )
        );
        assert!(wsdl("h:1").contains("<soap:address location=\"http://h:1/\"/>"));
    }

    #[test]
    fn a_host_names_a_host_and_nothing_else() {
        for text in ["localhost", "127.0.0.1:8000", "a_b.example.org:1", "[::1]:8000", "[::1]"] {
            assert_eq!(host(text), Some(text));
        }
        for text in [
            "", ":80", "a b", "a\"/><x", "a/b", "a@b", "a:65536", "a:1:2", "a:x", "[::1", "[::1]x",
            "[a]", "h\u{e9}", "a:+1",
        ] {
            assert_eq!(host(text), None, "{text}");
        }
    }
}
