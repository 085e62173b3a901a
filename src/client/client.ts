import createClient, { type Client, type ClientOptions } from "openapi-fetch";

// What every program that calls the API needs: sessions, repeats, lists, errors. Copy this file beside the types that
// `npm run client` writes. It needs openapi-fetch and web standards: a browser, Node 18 or later, or Workers.

// --- Problems ---

type Value<T> = T[keyof T];
type Answers<Paths> = Value<{
  [P in keyof Paths]: Value<{
    [M in keyof Paths[P]]: Paths[P][M] extends { responses: infer ByStatus } ? Value<ByStatus> : never;
  }>;
}>;
type TypeOf<Answer> = Answer extends { content: { "application/problem+json": { type: infer Type } } }
  ? Type
  : never;
type Snake<Text extends string> = Text extends `${infer A}-${infer B}` ? `${A}_${Snake<B>}` : Text;
type CodeOf<Type> = Type extends `/problems/${infer Code}`
  ? Code
  : Type extends `https://${string}#${infer Name}`
    ? Snake<Name>
    : never;

/** The code of every problem in the types. `unknown`: something in between answered, such as a proxy. */
export type ProblemCode<Paths> = CodeOf<TypeOf<Answers<Paths>>> | "unknown";

/** What some problems say beyond what all say, such as the challenge of a second factor, or the tenants to choose from. */
export type ProblemExtensions = {
  challenge?: string;
  methods?: readonly string[];
  options?: object;
  tenants?: readonly { id: string; slug: string; name: string }[];
  "violated-policies"?: readonly string[];
};

/** An answer that is an error. Tell errors apart by `code`; `instance` is the request id. */
export class ProblemError<Code extends string = string> extends Error {
  override readonly name = "ProblemError";
  readonly code: Code;
  readonly type: string;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** What is not valid in the request, as JSON pointers. */
  readonly errors: readonly { pointer: string; detail: string }[];
  readonly instance: string;
  /** The document as it was sent; empty where something else answered. */
  readonly document: ProblemExtensions;
  readonly response: Response;

  constructor(body: unknown, response: Response) {
    const isDocument = response.headers.get("content-type")?.startsWith("application/problem+json");
    const problem: Partial<ProblemError<Code>> & ProblemExtensions = isDocument ? Object(body) : {};
    const title = problem.title ?? `The answer was ${response.status}`;
    const faults = (problem.errors ?? []).map(({ pointer, detail }) => `${pointer}: ${detail}`);
    super(faults.length > 0 ? `${title}: ${faults.join(" ")}` : (problem.detail ?? title));
    this.code = problem.code ?? ("unknown" as Code);
    this.type = problem.type ?? "about:blank";
    this.status = response.status;
    this.title = title;
    this.detail = problem.detail ?? "";
    this.errors = problem.errors ?? [];
    this.instance = problem.instance ?? response.headers.get("x-request-id") ?? "";
    this.document = problem;
    this.response = response;
  }
}

/** Whether it is a ProblemError. After `isProblem<paths>(error)`, TypeScript knows which codes there are. */
export const isProblem = <Paths extends {}>(error: unknown): error is ProblemError<ProblemCode<Paths>> =>
  error instanceof ProblemError;

type Result = { data?: unknown; error?: unknown; response: Response };
type Data<R> = R extends { data: infer D } ? ([D] extends [never] ? undefined : D) : never;

/** The data of an answer. Throws ProblemError when the answer is an error. */
export async function unwrap<R extends Result>(call: R | PromiseLike<R>): Promise<Data<R>> {
  const { data, error, response } = await call;
  if (!response.ok) throw new ProblemError(error, response);
  return data as Data<R>;
}

// --- Lists ---

type Page<Row> = { data: Row[]; next_cursor: string | null };
type List<Row> = { get: { responses: { 200: { content: { "application/json": Page<Row> } } } } };
type ListPath<Paths> = Value<{ [P in keyof Paths]: Paths[P] extends List<unknown> ? P : never }>;
type RowOf<Item> = Item extends List<infer Row> ? Row : never;
type ListOptions<Item> = { signal?: AbortSignal } & (Item extends {
  get: { parameters: { query?: infer Query } };
}
  ? { query?: Omit<NonNullable<Query>, "cursor"> }
  : {}) &
  (Item extends { get: { parameters: { path: infer Path } } } ? { path: Path } : {});
type GetPage = (path: unknown, init: object) => Promise<Result & { data?: Page<unknown> }>;

/** Every row of a list, each once. Reads 100 rows at a time unless `query.limit` says another number. */
export async function* pages<Paths extends {}, Path extends ListPath<Paths>>(
  client: Client<Paths>,
  path: Path,
  ...[options]: {} extends ListOptions<Paths[Path]>
    ? [options?: ListOptions<Paths[Path]>]
    : [options: ListOptions<Paths[Path]>]
): AsyncGenerator<RowOf<Paths[Path]>, void, undefined> {
  const { signal, ...given } = (options ?? {}) as { signal?: AbortSignal; path?: object; query?: object };
  let cursor: string | null = null;
  do {
    const params = { ...given, query: { limit: 100, ...given.query, ...(cursor ? { cursor } : {}) } };
    // The cast: the types of openapi-fetch cannot follow a path that is a type parameter.
    const page: Page<unknown> = await unwrap((client.GET as GetPage)(path, { params, signal }));
    yield* page.data as RowOf<Paths[Path]>[];
    cursor = page.next_cursor;
  } while (cursor);
}

// --- Repeats ---

/**
 * Makes it safe to repeat a POST that takes the header: `params: { header: newIdempotencyKey() }`. The same key in
 * another call gets the first call's answer.
 */
export function newIdempotencyKey(): { "Idempotency-Key": string } {
  // A key need not be secret, and Node 18 has no global crypto.
  const random = () => Math.random().toString(36).slice(2);
  return { "Idempotency-Key": `${Date.now().toString(36)}-${random()}-${random()}` };
}

function isRepeatable({ method, headers }: Request): boolean {
  if (method === "POST") return headers.has("idempotency-key");
  if (method === "PATCH") return headers.has("if-match");
  return ["GET", "HEAD", "PUT", "DELETE"].includes(method);
}

/** 409 says when to come back only while the first request with the same key is in progress. */
const isPassing = ({ status, headers }: Response) =>
  status === 429 || status === 503 || (status === 409 && headers.has("retry-after"));

/** Milliseconds until the next try: as Retry-After says, else 0.25 s, doubled each time. A quarter more at random. */
function pauseAfter(response: Response | undefined, repeats: number): number {
  const header = response?.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  const ms = Number.isNaN(seconds) ? 250 * 2 ** repeats : Math.max(0, seconds * 1000);
  return ms * (1 + Math.random() / 4);
}

/** Resolves after so many milliseconds. Rejects at once when the signal is aborted, and leaves no timer behind. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const passed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return unlessAborted(signal, passed).finally(() => clearTimeout(timer));
}

/** What is waited for. Rejects with the signal's reason as soon as that is aborted. */
function unlessAborted<T>(signal: AbortSignal, waiting: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason as Error);
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    const release = () => signal.removeEventListener("abort", stop);
    waiting.then(resolve, reject).then(release, release);
  });
}

type Fetch = (request: Request, init?: RequestInit) => Promise<Response>;
type Bounds = { maxRepeats: number; maxWaitMs: number };

/** Sends a request. Sends it again after a network error, 429 or 503 while the bounds allow it. */
async function sendPatiently(
  send: () => Promise<Response>,
  isSafe: boolean,
  signal: AbortSignal,
  { maxRepeats, maxWaitMs }: Bounds,
): Promise<Response> {
  const started = Date.now();
  for (let repeats = 0; ; repeats++) {
    let response: Response | undefined;
    let failure: unknown;
    try {
      response = await send();
    } catch (error) {
      failure = error;
    }
    if (response && !isPassing(response)) return response;
    const ms = pauseAfter(response, repeats);
    const mayWait = repeats < maxRepeats && Date.now() - started + ms <= maxWaitMs;
    if (!isSafe || !mayWait || signal.aborted) {
      if (response) return response;
      throw failure;
    }
    await response?.body?.cancel();
    await pause(ms, signal);
  }
}

// --- Sessions ---

const REFRESH = "/v1/sessions/refresh";
/** A token is refreshed so long before it expires, or a tenth of its life if that is less. */
const EARLY_MS = 30_000;
/** A refresh that takes longer fails: all other requests wait for it. */
const REFRESH_TIMEOUT_MS = 30_000;
/** Routes that start a session, or take a mailed token. They ask for no session, so they must not wait for one. */
const OPEN =
  /\/v1\/(signup|token|sessions(\/(refresh|factor(\/enrolment)?|passkey))?|passkey-challenges|password-resets(\/confirm)?|invitations\/accept|email-verifications\/confirm|email-changes\/(confirm|undo)|operator\/sessions)$/;

type Tokens = { access_token: string; refresh_token: string; expires_in: number };
type Granted<Session> = { 200: { content: { "application/json": Session } } };
type HasRefresh<Session> = { [REFRESH]: { post: { responses: Granted<Session> } } };
type RefreshPaths<Session> = {
  [REFRESH]: {
    post: {
      requestBody: { content: { "application/json": { refresh_token: string } } };
      responses: Granted<Session> & { default: { content: { "application/problem+json": unknown } } };
    };
  };
};

/** A session as the API answers it. Once the client has held it, it says when its access token expires. */
export type SessionOf<Paths> = (Paths extends HasRefresh<infer Session> ? Session : Tokens) &
  Tokens & { expires_at_ms?: number };

export type ApiClientOptions<Paths> = Omit<ClientOptions, "fetch"> & {
  fetch?: Fetch;
  /** Sent with every request, in place of a session's token. */
  apiKey?: string;
  /** What sign-in answered, or what `onSession` has stored. */
  session?: SessionOf<Paths> | null;
  /** Stores the session: called with every new one, and with null when it has ended. Requests wait for it. */
  onSession?: (session: SessionOf<Paths> | null) => void | Promise<void>;
  /** Reads what is stored, before each refresh. Needed where tabs share a session: an old refresh token ends it. */
  storedSession?: () => SessionOf<Paths> | null | Promise<SessionOf<Paths> | null>;
  /** How often a request is sent again. 3 unless given. */
  maxRepeats?: number;
  /** How long a request may take until it is last sent again, in milliseconds. 30,000 unless given. */
  maxWaitMs?: number;
};

export type ApiClient<Paths extends {}> = Client<Paths> & {
  /** Goes on with another session, as after sign-in, or with none, as after sign-out. Calls `onSession`. */
  setSession: (session: SessionOf<Paths> | null) => Promise<void>;
  /** The session that the client holds. */
  getSession: () => SessionOf<Paths> | null;
};

/** A refresh that was answered with an error. Every request that waited for it gets this answer. */
class RefreshFailure extends Error {
  readonly #body: string;
  readonly #response: Response;

  constructor(error: unknown, response: Response) {
    super(`The refresh was answered ${response.status}`);
    this.#body = typeof error === "string" ? error : JSON.stringify(error);
    this.#response = response;
  }

  answer(): Response {
    const headers = new Headers(this.#response.headers);
    for (const name of ["content-length", "content-encoding"]) headers.delete(name);
    return new Response(this.#body, { status: this.#response.status, headers });
  }
}

/**
 * A client of openapi-fetch that keeps its session alive and repeats what is safe to repeat. In a Worker, make one for each
 * request that it serves: requests there cannot wait for each other.
 */
export function createApiClient<Paths extends {}>({
  fetch = (request, init) => globalThis.fetch(request, init),
  Request: PlainRequest = globalThis.Request,
  apiKey,
  session = null,
  onSession,
  storedSession,
  maxRepeats = 3,
  maxWaitMs = 30_000,
  ...options
}: ApiClientOptions<Paths>): ApiClient<Paths> {
  type Session = SessionOf<Paths>;
  type Held = Session & { expires_at_ms: number };
  const bounds = { maxRepeats, maxWaitMs };
  const withExpiry = (given: Session): Held => ({
    ...given,
    expires_at_ms: given.expires_at_ms ?? Date.now() + given.expires_in * 1000,
  });
  const isFresh = (one: Held) => Date.now() < one.expires_at_ms - Math.min(EARLY_MS, one.expires_in * 100);

  let held = session && withExpiry(session);
  let refreshing: Promise<void> | undefined;

  /** Reads the body, so that the request can be sent as often as needed. */
  async function copierOf(request: Request): Promise<() => Request> {
    const body = await request.arrayBuffer();
    // A request without a body must not get an empty one.
    return () => new PlainRequest(request, request.bodyUsed ? { body } : {});
  }

  async function setSession(next: Session | null): Promise<void> {
    held = next && withExpiry(next);
    await onSession?.(held);
  }

  // Any refresh may be repeated: the same token gets the same successor until that one is used.
  const refresher = createClient<RefreshPaths<Session>>({
    ...options,
    Request: PlainRequest,
    fetch: async (request: Request, init?: RequestInit) => {
      const copy = await copierOf(request);
      return sendPatiently(() => fetch(copy(), init), true, request.signal, bounds);
    },
  });

  async function refresh(old: Held): Promise<void> {
    let from = old;
    if (storedSession) {
      const stored = await storedSession();
      if (held !== old) return;
      if (stored?.access_token !== old.access_token) {
        held = stored && withExpiry(stored);
        if (!held || isFresh(held)) return;
        from = held;
      }
    }
    const { data, error, response } = await refresher.POST(REFRESH, {
      body: { refresh_token: from.refresh_token },
      signal: AbortSignal.timeout(REFRESH_TIMEOUT_MS),
    });
    // Somebody has signed in or out meanwhile.
    if (held !== from) return;
    if (data) return setSession(data as Session);
    if (response.status === 401 || response.status === 422) await setSession(null);
    throw new RefreshFailure(error, response);
  }

  /** The access token to send, once it is fresh and not `refused`. Many requests wait for one refresh. */
  async function freshToken(signal: AbortSignal, refused?: string): Promise<string | undefined> {
    if (held && (held.access_token === refused || !isFresh(held))) {
      refreshing ??= refresh(held).finally(() => (refreshing = undefined));
      await unlessAborted(signal, refreshing);
    }
    return held?.access_token;
  }

  // Only here a body can still be told from a stream: a Request turns every body into one.
  const streamed = new WeakSet<Request>();
  class KnownRequest extends PlainRequest {
    constructor(input: RequestInfo | URL, init?: RequestInit) {
      super(input, init);
      if (init?.body instanceof ReadableStream) streamed.add(this);
    }
  }

  async function send(request: Request, init?: RequestInit): Promise<Response> {
    const { signal, headers } = request;
    const isStream = streamed.has(request);
    const copy = isStream ? () => request : await copierOf(request);
    const attempt = (token?: string) => {
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      const isSafe = !isStream && isRepeatable(request);
      return sendPatiently(() => fetch(copy(), init), isSafe, signal, bounds);
    };
    const isOpen = request.method === "POST" && OPEN.test(new URL(request.url).pathname);
    if (isOpen || headers.has("authorization")) return attempt();
    if (apiKey !== undefined) return attempt(apiKey);

    try {
      const token = await freshToken(signal);
      const response = await attempt(token);
      const isRefused =
        response.status === 401 && response.headers.get("www-authenticate")?.includes("invalid_token");
      if (!isRefused || token === undefined || isStream) return response;
      const next = await freshToken(signal, token);
      if (next === undefined) return response;
      await response.body?.cancel();
      return await attempt(next);
    } catch (error) {
      if (error instanceof RefreshFailure) return error.answer();
      throw error;
    }
  }

  const client = createClient<Paths>({ ...options, Request: KnownRequest as typeof Request, fetch: send });
  return { ...client, setSession, getSession: () => held };
}
