/**
 * Stands in for "@peculiar/x509", and what that needs, in the Worker's bundle (wrangler.toml), of which it would be 8 %.
 * Passkeys are asked for without attestation, so they come without certificates; one that has some is refused.
 */
function none(): never {
  throw new Error("attestations with certificates are not taken");
}

export {
  none as AuthorityKeyIdentifierExtension,
  none as CRLDistributionPointsExtension,
  none as SubjectKeyIdentifierExtension,
  none as X509Certificate,
  none as X509ChainBuilder,
  none as X509Crl,
};
