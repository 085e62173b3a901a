import { answered, request, type SignedIn } from "./client.ts";
import { asOperator, type TestOperator } from "./operators.ts";

// An operator in a tenant: what it says of that, and what they ask.

export type SupportSession = {
  id: string;
  status: "asked" | "active" | "ended";
  operator: { id: string; name: string };
  reason: string;
  minutes: number;
  write: boolean;
  approved_by: string | null;
  started_at: string | null;
  expires_at: string | null;
  ended_at: string | null;
  end_reason: string | null;
  ended_by: { type: string; id: string } | null;
};
export type SupportGrant = SupportSession & { access_token: string; expires_in: number };

export const setMode = (owner: Pick<SignedIn, "token">, mode: "off" | "ask" | "on") =>
  request("PATCH", "/v1/tenant/support-access", { token: owner.token, body: { mode } });

const pathOf = ({ tenant }: SignedIn, rest = "") => `tenants/${tenant.id}/support-sessions${rest}`;

export const askSupport = (operator: Pick<TestOperator, "token">, of: SignedIn, body: object = {}) =>
  asOperator(operator.token, "POST", pathOf(of), {
    reason: "Ticket 4711",
    minutes: 30,
    ...body,
  });
export const supportToken = (operator: Pick<TestOperator, "token">, of: SignedIn, id: string) =>
  asOperator(operator.token, "POST", pathOf(of, `/${id}/token`));
export const supportState = (operator: Pick<TestOperator, "token">, of: SignedIn, id: string) =>
  asOperator(operator.token, "GET", pathOf(of, `/${id}`));
export const leave = (operator: Pick<TestOperator, "token">, of: SignedIn, id: string) =>
  asOperator(operator.token, "DELETE", pathOf(of, `/${id}`));

/** A session of the operator's in a tenant that lets operators in on their own. */
export const enterTenant = (operator: TestOperator, of: SignedIn, body?: object) =>
  answered<SupportGrant>(201, askSupport(operator, of, body));

export const approve = (who: Pick<SignedIn, "token">, id: string) =>
  request("POST", `/v1/tenant/support-sessions/${id}/approve`, { token: who.token });
export const end = (who: Pick<SignedIn, "token">, id: string) =>
  request("DELETE", `/v1/tenant/support-sessions/${id}`, { token: who.token });

/** What the tenant is shown of its sessions of support, newest first. */
export const shownSessions = async (who: Pick<SignedIn, "token">) =>
  (
    await answered<{ data: SupportSession[] }>(
      200,
      request("GET", "/v1/tenant/support-sessions?limit=100", { token: who.token }),
    )
  ).data;
