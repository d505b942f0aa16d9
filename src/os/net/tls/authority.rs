//! TLS to the nodes of an engine: their certificates are signed by an authority, and no key is
//! known beforehand.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::os::net::tls::keys;
use crate::protocol::types::certificate_fault::CertificateFault;

/// The authorities of the system, at the places of the usual distributions.
const SYSTEM_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// The longest file: the authorities of a system have a twentieth of that.
const FILE_BYTES: u64 = 4 << 20;

/// The trust in the nodes of an engine.
pub struct EngineTrust {
    config: Arc<ClientConfig>,
}

impl EngineTrust {
    /// Trust the authorities in this file, or those of the system. The certificate of a node names
    /// the node's IP address, or one of these hosts: nodes tell each other's addresses, not names.
    ///
    /// # Errors
    /// The reason with the file, for the operator.
    pub fn open(file: Option<&Path>, hosts: &[String]) -> Result<EngineTrust, String> {
        let file = match file {
            Some(file) => file,
            None => SYSTEM_FILES
                .iter()
                .map(Path::new)
                .find(|file| file.exists())
                .ok_or("this system has no certificates of authorities; use --index-ca FILE")?,
        };
        let shown = file.display();
        let mut text = Vec::new();
        let read =
            File::open(file).and_then(|opened| opened.take(FILE_BYTES).read_to_end(&mut text));
        read.map_err(|error| format!("{shown}: {error}"))?;
        let mut roots = RootCertStore::empty();
        let all = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
        if roots.add_parsable_certificates(all).0 == 0 {
            return Err(format!("{shown}: this is no certificate in PEM"));
        }
        let provider = Arc::new(keys::provider());
        let roots =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
                .build()
                .map_err(|error| format!("{shown}: {error}"))?;
        let names = hosts.iter().filter_map(|host| ServerName::try_from(host.clone()).ok());
        let verifier = NodeVerifier { roots, names: names.collect() };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(EngineTrust { config: Arc::new(config) })
    }

    /// The configuration of a connection to a node.
    pub(in crate::os::net) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

/// Takes certificates for the address of a node or for one of the names.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        address: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut result = Err(Error::General(String::new()));
        for name in std::iter::once(address).chain(&self.names) {
            result = self.roots.verify_server_cert(shown, chain, name, stapled, now);
            match &result {
                Err(error) if fault(error) == CertificateFault::Name => {}
                _ => break,
            }
        }
        result.map_err(|error| CertificateError::Other(OtherError(Arc::new(fault(&error)))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

fn fault(error: &Error) -> CertificateFault {
    match error {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => CertificateFault::Authority,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => CertificateFault::Name,
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => CertificateFault::Time,
        _ => CertificateFault::Form,
    }
}
