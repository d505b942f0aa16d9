//! The reason for which a certificate is not trusted.

use std::fmt;

/// The reason for which the certificate of the other side is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// No known authority has signed the certificate.
    Authority,
    /// The certificate is for other names.
    Name,
    /// The certificate has expired, or is not valid yet.
    Time,
    /// The certificate can't be used for a server, or can't be read.
    Form,
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateFault::Authority => "no known authority has signed the certificate",
            CertificateFault::Name => "the certificate is for other names",
            CertificateFault::Time => "the certificate has expired, or is not valid yet",
            CertificateFault::Form => "the certificate can't be used for a server",
        })
    }
}

impl std::error::Error for CertificateFault {}
