import type { ContentfulStatusCode } from "hono/utils/http-status";
import { PRODUCT_PROBLEMS } from "./product/problems.ts";

type Kind = { status: ContentfulStatusCode; title: string; help: string; type?: string };

/**
 * Every way a request can fail: the one map from code to HTTP status, title and the text of /problems/{code}. The product's
 * own come first, and none of them changes partywall's.
 */
export const PROBLEMS = {
  ...PRODUCT_PROBLEMS,
  invalid_json: {
    status: 400,
    title: "The body is not JSON",
    help: "Send a well-formed JSON document in UTF-8.",
  },
  invalid_header: {
    status: 400,
    title: "A header is not well formed",
    help: "Correct the headers that errors points at, and send the request again. Each entry says what is wrong with one of them.",
  },
  idempotency_key_unsupported: {
    status: 400,
    title: "The route takes no Idempotency-Key",
    help: "Send the request without the header. A change is safe to repeat with If-Match instead.",
  },
  invalid_cursor: {
    status: 400,
    title: "The cursor is not valid here",
    help: "Pass next_cursor back unchanged, with the same filters, or start again without a cursor.",
  },
  invalid_token_request: {
    status: 400,
    title: "The token request is not valid",
    help: "Send the form of RFC 8693. Each entry of errors points at one of its parameters.",
  },
  unsupported_grant_type: {
    status: 400,
    title: "The grant type is not supported",
    help: "The one grant type here is urn:ietf:params:oauth:grant-type:token-exchange.",
  },
  subject_token_refused: {
    status: 400,
    title: "The subject token is not accepted",
    help: "Send a token of an issuer that the tenant trusts, made for the audience that it is registered with.",
  },
  cost_above_limit: {
    status: 400,
    title: "The request costs more than a limit allows at once",
    help: "No waiting makes this request pass: ask for less at a time, or for a larger plan.",
  },
  unauthenticated: {
    status: 401,
    title: "Not signed in",
    help: "Send Authorization: Bearer with an access token or an API key that is valid. Whoever was signed in refreshes the session, or signs in again.",
  },
  second_factor_required: {
    status: 401,
    title: "A second factor is needed",
    help: "Send the challenge to POST /v1/sessions/factor within ten minutes, with a proof of one of the methods.",
  },
  second_factor_enrolment_required: {
    status: 401,
    title: "The tenant requires a second factor",
    help: "Send the challenge to POST /v1/sessions/factor/enrolment, then with a proof to POST /v1/sessions/factor.",
  },
  wrong_password: {
    status: 403,
    title: "The password is not right",
    help: "Send the account's own password, or in a step-up its second factor if it has one. Whoever has forgotten the password asks for a link under /v1/password-resets.",
  },
  wrong_factor: {
    status: 403,
    title: "The second factor is not right",
    help: "Send a code that the authenticator app shows now and that was not used before, or what the passkey has signed.",
  },
  step_up_required: {
    status: 403,
    title: "Prove again who you are",
    help: "This takes a proof of less than ten minutes ago: POST /v1/sessions/current/step-up, then repeat the request.",
  },
  email_not_verified: {
    status: 403,
    title: "The address is not confirmed",
    help: "Open the link that was mailed to it. POST /v1/email-verifications sends another.",
  },
  no_tenant: {
    status: 403,
    title: "The account is in no tenant",
    help: "The email and password are right, but there is nothing to sign in to. Sign up with them to make a tenant, or ask to be invited to one.",
  },
  no_address: {
    status: 409,
    title: "The account has no address",
    help: "Whoever reads its mailbox has taken it. Add another address with POST /v1/me/email.",
  },
  insufficient_scope: {
    status: 403,
    title: "Not allowed",
    help: "The token is valid, but its role does not allow this. Ask an owner or admin of the tenant.",
  },
  support_access_off: {
    status: 403,
    title: "The tenant lets no operator in",
    help: "Ask one of its owners to set PATCH /v1/tenant/support-access to ask or on.",
  },
  wrong_host: {
    status: 403,
    title: "The host is another tenant's",
    help: "The host names one tenant and the credential another. Use the host of your own tenant, or the API's own.",
  },
  tenant_suspended: {
    status: 403,
    title: "The tenant is suspended",
    help: "Nothing can be done in this tenant until its suspension is lifted.",
  },
  tenant_read_only: {
    status: 403,
    title: "The tenant can only be read",
    help: "Whoever runs this service has ended the tenant's changes for now. Reading and exporting go on.",
  },
  tenant_closing: {
    status: 403,
    title: "The tenant is being closed",
    help: "It will be erased at closes_at. Until then an owner can restore it, and export what it has.",
  },
  tenant_erasing: {
    status: 403,
    title: "The tenant is being erased",
    help: "All that it has is deleted for good.",
  },
  tenant_state: {
    status: 409,
    title: "The tenant's status does not allow this",
    help: "Its status is not one that this can follow. Read the tenant for what it is now.",
  },
  support_session_asked: {
    status: 409,
    title: "No owner has approved yet",
    help: "One of the tenant's owners has to approve the session within a day. Then ask for its token again.",
  },
  support_session_over: {
    status: 409,
    title: "The session of support is over",
    help: "It has expired, was ended, or was answered by no owner within a day. An operator may ask for another.",
  },
  job_under_way: {
    status: 409,
    title: "Something else is done with the tenant's content",
    help: "The tenant is moved, restored, exported or imported. Try again when that has ended.",
  },
  not_found: {
    status: 404,
    title: "Not found",
    help: "There is no such thing here. Check the path and the id.",
  },
  method_not_allowed: {
    status: 405,
    title: "The path does not take this method",
    help: "Use one of the methods that the header Allow names.",
  },
  body_timeout: {
    status: 408,
    title: "The body did not arrive in time",
    help: "A body has to arrive whole within 10 seconds. Send the request again.",
  },
  idempotency_key_in_use: {
    status: 409,
    title: "The first request with this key is not done",
    help: "Another request with the same Idempotency-Key is still being answered. Send this one again in a moment.",
  },
  value_taken: {
    status: 409,
    title: "Another row has this value",
    help: "This value has to be unique. Each entry of errors points at one that another row has.",
  },
  row_in_use: {
    status: 409,
    title: "Other rows refer to it",
    help: "What refers to this row would be left without it. Delete that first, or have it refer to another.",
  },
  too_many_api_keys: {
    status: 409,
    title: "Too many API keys",
    help: "A tenant has 100 live API keys at most. Delete one that is not used: see last_used_at.",
  },
  api_key_expired: {
    status: 409,
    title: "The API key has expired",
    help: "A key is rotated while it is good. Make a new one.",
  },
  slug_taken: { status: 409, title: "The slug is taken", help: "Choose another slug for the tenant." },
  last_owner: {
    status: 409,
    title: "A tenant keeps an owner",
    help: "The last owner can neither leave nor step down. Make somebody else an owner first.",
  },
  already_member: {
    status: 409,
    title: "Already a member",
    help: "Somebody with this email is a member of the tenant. Change their role under /v1/members.",
  },
  invitation_gone: {
    status: 410,
    title: "The invitation is no longer valid",
    help: "It was used, replaced or revoked, has expired after seven days, or is malformed. Ask to be invited again.",
  },
  link_gone: {
    status: 410,
    title: "The link is no longer valid",
    help: "It was used, replaced by a later one, has expired, or is malformed. Ask for another one.",
  },
  email_taken: {
    status: 409,
    title: "The address belongs to another account",
    help: "Another account has shown that this mailbox is its own. Sign in to that one, or use another address.",
  },
  owner_of_tenants: {
    status: 409,
    title: "The account is the last owner of tenants",
    help: "Each tenant named in tenants would be left without an owner. Make somebody else an owner, or close the tenant.",
  },
  member_elsewhere: {
    status: 409,
    title: "The member is in other tenants too",
    help: "Their second factors protect those tenants as well. They have to use a recovery code.",
  },
  too_many_factors: {
    status: 409,
    title: "Too many second factors",
    help: "An account has 20 second factors at most. Remove one that is not used: see last_used_at.",
  },
  factor_required: {
    status: 409,
    title: "A tenant requires a second factor",
    help: "The tenant requires one of its members, and this is the last one. Add another before you remove it.",
  },
  issuer_exists: {
    status: 409,
    title: "The issuer is registered already",
    help: "The tenant trusts this issuer for this audience already. Change that registration.",
  },
  precondition_failed: {
    status: 412,
    title: "The resource has changed",
    help: "Somebody changed it since you read it. Read it again, and send its new ETag in If-Match.",
  },
  body_too_large: { status: 413, title: "The body is too large", help: "A body may have 256 KiB at most." },
  unsupported_media_type: {
    status: 415,
    title: "The body's media type is not supported",
    help: "Send JSON, with Content-Type: application/json.",
  },
  invalid_input: {
    status: 422,
    title: "The input is not valid",
    help: "Correct what errors points at, and send the request again. Each entry says what is wrong with one value.",
  },
  idempotency_key_reused: {
    status: 422,
    title: "The key belongs to another request",
    help: "This Idempotency-Key came with another path or body less than 24 hours ago. Use a new key for a new request.",
  },
  quota_exceeded: {
    status: 429,
    title: "Over the limit",
    help: "The request costs more than is left of a limit of the tenant's plan, which violated-policies names. Wait for Retry-After seconds; refused requests cost nothing.",
    type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
  },
  too_many_attempts: {
    status: 429,
    title: "Too many requests at once",
    help: "A guard against floods stands before the limits: by IP address without a token. Wait for a minute.",
  },
  internal: {
    status: 500,
    title: "Something went wrong here",
    help: "The error is logged under the request id in instance. Tell us that id.",
  },
  mail_not_sent: {
    status: 503,
    title: "The mail could not be sent",
    help: "What was asked for is done, but its mail did not go out. Send the same request again to send the mail.",
  },
  mail_not_set_up: {
    status: 503,
    title: "This deployment sends no mail",
    help: "Nothing was changed. Whoever runs this deployment has to set MAIL_URL.",
  },
  unavailable: {
    status: 503,
    title: "A part of the service is out of reach",
    help: "Nothing was changed unless the answer was lost on the way. Try again after Retry-After seconds.",
  },
} as const satisfies Record<string, Kind>;

export type ProblemCode = keyof typeof PROBLEMS;

/** What a problem says beyond its code. `errors` points into the request, as JSON pointers (RFC 6901). */
export type ProblemDetails = {
  detail?: string;
  errors?: { pointer: string; detail: string }[];
  "violated-policies"?: string[];
  /** Of a sign-in that needs a second factor: what to send back, and what proves it. */
  challenge?: string;
  methods?: string[];
  options?: object;
  tenants?: object[];
  /** The error code of RFC 6749, 5.2, where OAuth clients expect one. */
  error?: string;
};

/** One structured line about what went wrong on our side. Tells of the cause, which no client hears. */
export function logProblem(problem: Problem, requestId: string, route: string): void {
  console.error({
    message: problem.code,
    request_id: requestId,
    route,
    cause: String(problem.cause ?? problem.message),
  });
}

/** The only error that a client is told of; everything else is answered as `internal` or `unavailable`. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly code: ProblemCode;
  readonly details: ProblemDetails;
  readonly headers: Record<string, string>;

  constructor(
    code: ProblemCode,
    {
      cause,
      headers = {},
      ...details
    }: ProblemDetails & { cause?: unknown; headers?: Record<string, string> } = {},
  ) {
    super(details.detail ?? PROBLEMS[code].title, { cause });
    this.code = code;
    this.details = details;
    this.headers = headers;
  }

  get status(): ContentfulStatusCode {
    return PROBLEMS[this.code].status;
  }
}

/** The document that RFC 9457 names `application/problem+json`, with the request id as its instance. */
export function problemDocument(code: ProblemCode, details: ProblemDetails, requestId: string): string {
  const { status, title, help, type = `/problems/${code}` }: Kind = PROBLEMS[code];
  return JSON.stringify({ code, type, title, status, detail: help, ...details, instance: requestId });
}
