import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "./connected.ts";

/** How often the ledger is asked whether the erasure is done, and for how long. */
const POLL_MS = 1000;
const PATIENCE_MS = 60 * 60_000;
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * Has the deployed Worker erase a tenant at once, for good, and waits until that is done. Returns the receipt, a JWS. Throws a
 * sentence when the API cannot be reached or refuses.
 */
export async function eraseTenant(of: {
  api: string;
  operatorToken: string;
  tenantId: string;
  reason: string;
}): Promise<string> {
  await ask(of.api, "POST", `/v1/operator/tenants/${of.tenantId}/erase`, {
    headers: { authorization: `Bearer ${of.operatorToken}`, "content-type": "application/json" },
    body: JSON.stringify({ reason: of.reason }),
  });
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until;) {
    const { receipt } = await ask(of.api, "GET", `/v1/erasures/${of.tenantId}`);
    if (receipt !== null) return receipt;
    await pause(POLL_MS);
  }
  throw new Error(
    `The erasure is not done yet, and goes on. Its receipt will be at ${of.api}/v1/erasures/${of.tenantId}`,
  );
}

async function ask(api: string, method: string, path: string, init: RequestInit = {}) {
  const response = await fetch(`${api}${path}`, {
    ...init,
    method,
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  }).catch((error: unknown) => {
    throw new Error(`The API at ${api} cannot be reached: ${messageOf(error)}. Set ISSUER to where it is.`);
  });
  const answer = (await response.json()) as { receipt: string | null; title?: string };
  if (!response.ok) throw new Error(`The API answers ${response.status}: ${answer.title ?? ""}`);
  return answer;
}
