/**
 * Stands in for "@peculiar/x509", and what that needs, in the Worker's bundle (wrangler.toml), of which it would be a tenth.
 * Passkeys are asked for without attestation, so no certificates come with one; whoever sends such is refused.
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
