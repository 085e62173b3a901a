import { listOperators, newSecrets, type SecretVariables } from "./operator-people.ts";

const EMAIL = "operator@partywall.test";

/** What the operator of `npm run dev` signs in with, as .dev.vars keeps it: made here, and worth nothing elsewhere. */
export type LocalOperator = { LOCAL_OPERATOR_PASSWORD: string; LOCAL_OPERATOR_URI: string };

/** The operator of `npm run dev`, an admin, who is made or gets new secrets where .dev.vars or the database lacks them. */
export async function seedOperator(
  variables: SecretVariables,
  known: Partial<Record<keyof LocalOperator, string | undefined>>,
): Promise<LocalOperator> {
  const people = await listOperators(variables);
  const isThere = people.some(({ email, disabled_at }) => email === EMAIL && disabled_at === null);
  const { LOCAL_OPERATOR_PASSWORD, LOCAL_OPERATOR_URI } = known;
  if (isThere && LOCAL_OPERATOR_PASSWORD && LOCAL_OPERATOR_URI)
    return { LOCAL_OPERATOR_PASSWORD, LOCAL_OPERATOR_URI };
  const { password, uri } = await newSecrets(variables, {
    email: EMAIL,
    reason: "npm run dev",
    ...(!isThere && { role: "admin" as const }),
  });
  return { LOCAL_OPERATOR_PASSWORD: password, LOCAL_OPERATOR_URI: uri };
}

/** Prints how to sign in as the operator, in a POSIX shell with curl and in an authenticator app. */
export function printOperator(
  api: string,
  { LOCAL_OPERATOR_PASSWORD, LOCAL_OPERATOR_URI }: LocalOperator,
): void {
  console.log(`Operate it at ${api}/operator as ${EMAIL}, with the password ${LOCAL_OPERATOR_PASSWORD}
and a code of this second factor, each once: ${LOCAL_OPERATOR_URI}

  CODE=$(node -e "import('otpauth').then(({ URI }) => console.log(URI.parse('${LOCAL_OPERATOR_URI}').generate()))"); echo $CODE
  OPS=$(curl -s ${api}/v1/operator/sessions -H 'content-type: application/json' -d '{"email":"${EMAIL}","password":"${LOCAL_OPERATOR_PASSWORD}","code":"'$CODE'"}' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
  curl -s "${api}/v1/operator/tenants?sort=name" -H "authorization: Bearer $OPS"; echo
`);
}
