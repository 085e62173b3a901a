import { beforeEach, describe, expect, it } from "vitest";
import { answered, newTenant, request, storedKey, type Row, type SignedIn } from "../support/client.ts";

type Invoice = Row & { number: number; status: string; total: string; due_on: string | null };
type Line = { position: number; description: string; quantity: string; unit_price: string; amount: string };
type Page<Of> = { data: Of[]; next_cursor: string | null };

let ada: SignedIn;
let customer: string;
beforeEach(async () => {
  ada = await newTenant();
  customer = (await post<Row>("/v1/customers", { name: "Roofers" })).id;
});

const post = <T>(path: string, body: object, token = ada.token) =>
  answered<T>(201, request("POST", path, { token, body }));
const get = <T>(path: string, token = ada.token) => answered<T>(200, request("GET", path, { token }));
const patch = (path: string, body: object, headers = {}) =>
  request("PATCH", path, { token: ada.token, body, headers });

const line = (quantity: string, unit_price: string, description = "Tiles") => ({
  description,
  quantity,
  unit_price,
});
const invoiceOf = (body: object = {}) => ({
  customer_id: customer,
  currency: "EUR",
  lines: [line("1", "1.00")],
  ...body,
});
const newInvoice = (body: object = {}) => post<Invoice>("/v1/invoices", invoiceOf(body));
const moved = async (body: object, ...statuses: string[]) => {
  const { id } = await newInvoice(body);
  for (const status of statuses) await answered(200, patch(`/v1/invoices/${id}`, { status }));
  return id;
};

/** All rows of a list, two at a time. */
async function walk<Of>(path: string): Promise<Of[]> {
  const found: Of[] = [];
  for (let cursor = ""; ;) {
    const page = await get<Page<Of>>(`${path}&limit=2${cursor}`);
    found.push(...page.data);
    if (page.next_cursor === null) return found;
    cursor = `&cursor=${page.next_cursor}`;
  }
}

describe("an invoice", () => {
  it.each([
    ["0.30", [line("1", "0.10"), line("1", "0.20")]],
    ["100.00", [line("33.333", "3.00")]],
    ["0.02", [line("0.005", "1.00"), line("0.005", "1.00")]],
    ["-0.01", [line("-0.005", "1.00")]],
    ["999999999999.99", [line("100", "9999999999.99"), line("1", "0.99")]],
  ])("has a total of %s, exactly", async (total, lines) => {
    expect(await newInvoice({ lines })).toMatchObject({ total });
  });

  it("is refused when its total does not fit, and takes no number", async () => {
    const body = invoiceOf({ lines: [line("999999999", "9999999999.99")] });
    const response = await request("POST", "/v1/invoices", { token: ada.token, body });
    expect(await answered(422, response)).toMatchObject({ code: "invalid_input" });
    expect(await newInvoice()).toMatchObject({ number: 1 });
  });

  it("is made with its lines, which keep their order", async () => {
    const words = ["c", "a", "b", ...Array.from({ length: 97 }, (_, at) => `line ${at}`)];
    const { id, ...made } = await newInvoice({ lines: words.map((word) => line("2", "1.50", word)) });
    expect(made).toMatchObject({ status: "draft", total: "300.00", due_on: null, customer_id: customer });
    const { data } = await get<{ data: Line[] }>(`/v1/invoices/${id}/lines`);
    expect(data.map(({ description }) => description)).toEqual(words);
    expect(data.map(({ position }) => position)).toEqual(words.map((_, at) => at + 1));
    expect(data[0]).toMatchObject({ quantity: "2.000", unit_price: "1.50", amount: "3.00" });
    expect(await get(`/v1/invoices/${id}`)).toEqual({ id, ...made });
  });

  it.each([
    ["no lines", { lines: [] }],
    ["too many lines", { lines: Array.from({ length: 101 }, () => line("1", "1.00")) }],
    ["an amount with too many places", { lines: [line("1", "1.005")] }],
    ["a number for an amount", { lines: [{ ...line("1", "1.00"), unit_price: 0.1 }] }],
    ["a currency in lower case", { currency: "eur" }],
    ["a customer that is not there", { customer_id: crypto.randomUUID() }],
    ["a day that is not in the calendar", { due_on: "2026-02-30" }],
    ["a status", { status: "paid" }],
  ])("is refused with %s", async (_, body) => {
    const response = await request("POST", "/v1/invoices", { token: ada.token, body: invoiceOf(body) });
    expect(await answered(422, response)).toMatchObject({ code: "invalid_input" });
    expect(await get("/v1/invoices")).toMatchObject({ data: [] });
  });

  it("is made once of twenty equal requests at once, and all get the same answer", async () => {
    const body = invoiceOf({ lines: [line("1", "0.10"), line("1", "0.20")] });
    const headers = { "idempotency-key": crypto.randomUUID() };
    const responses = await Promise.all(
      Array.from({ length: 20 }, () => request("POST", "/v1/invoices", { token: ada.token, body, headers })),
    );
    const answers = await Promise.all(
      responses.map(async (response) => ({
        location: response.headers.get("location"),
        etag: response.headers.get("etag"),
        body: await answered<Invoice>(201, response),
      })),
    );
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(responses.filter(({ headers: of }) => of.has("idempotency-replayed"))).toHaveLength(19);
    const { data } = await get<Page<Invoice>>("/v1/invoices");
    expect(data).toEqual([answers[0]?.body]);
    const lines = await get<{ data: Line[] }>(`/v1/invoices/${data[0]?.id}/lines`);
    expect(lines.data.map(({ amount }) => amount)).toEqual(["0.10", "0.20"]);
  });

  it("is numbered 1, 2, 3 … in its tenant, without gaps where requests are refused", async () => {
    const requests = Array.from({ length: 12 }, (_, at) =>
      request("POST", "/v1/invoices", {
        token: ada.token,
        body: invoiceOf(at % 3 === 0 ? { customer_id: crypto.randomUUID() } : {}),
      }),
    );
    const statuses = (await Promise.all(requests)).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([...Array(8).fill(201), ...Array(4).fill(422)]);
    const rows = await walk<Invoice>("/v1/invoices?sort=number");
    expect(rows.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});

describe("an invoice's status", () => {
  it.each([[["sent"]], [["sent", "paid"]], [["void"]], [["sent", "void"]]])(
    "becomes %j",
    async (statuses) => {
      const id = await moved({}, ...statuses);
      expect(await get(`/v1/invoices/${id}`)).toMatchObject({ status: statuses.at(-1) });
    },
  );

  it.each([
    [[], "paid"],
    [["sent"], "sent"],
    [["sent", "paid"], "void"],
    [["sent", "paid"], "sent"],
    [["void"], "sent"],
    [["void"], "paid"],
  ])("after %j does not become %s", async (before, status) => {
    const path = `/v1/invoices/${await moved({}, ...before)}`;
    const refused = await answered(409, patch(path, { status, due_on: "2026-12-24" }));
    expect(refused).toMatchObject({ code: "status_not_reached" });
    expect(await get(path)).toMatchObject({ status: before.at(-1) ?? "draft", due_on: null });
  });

  it("is paid once of ten requests at once", async () => {
    const path = `/v1/invoices/${await moved({}, "sent")}`;
    const answers = await Promise.all(Array.from({ length: 10 }, () => patch(path, { status: "paid" })));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array(9).fill(409),
    ]);
  });

  it("heeds If-Match, and keeps the rest of the invoice", async () => {
    const { id } = await newInvoice({ due_on: "2026-12-24" });
    const path = `/v1/invoices/${id}`;
    expect(await answered(412, patch(path, { status: "sent" }, { "if-match": '"7"' }))).toBeDefined();
    const sent = await answered(200, patch(path, { status: "sent" }, { "if-match": '"1"' }));
    expect(sent).toMatchObject({ status: "sent", due_on: "2026-12-24", total: "1.00" });
    expect(await answered(200, patch(path, { due_on: null }))).toMatchObject({ due_on: null });
    const missing = patch(`/v1/invoices/${crypto.randomUUID()}`, { status: "sent" });
    expect(await answered(404, missing)).toMatchObject({ code: "not_found" });
  });
});

describe("a list of invoices", () => {
  const DUE = ["2026-03-01", null, "2026-01-01", null, "2026-02-01", null, "2026-01-01"];
  beforeEach(async () => {
    for (const [at, due_on] of DUE.entries())
      await newInvoice({ due_on, lines: [line("1", `${9 - at}.00`)] });
  });

  it("pages over days that may be missing, in both directions", async () => {
    const days = async (sort: string) =>
      (await walk<Invoice>(`/v1/invoices?sort=${sort}`)).map(({ due_on }) => due_on);
    const rising = ["2026-01-01", "2026-01-01", "2026-02-01", "2026-03-01", null, null, null];
    expect(await days("due_on")).toEqual(rising);
    expect(await days("-due_on")).toEqual(rising.toReversed());
    expect(new Set((await walk<Row>("/v1/invoices?sort=due_on")).map(({ id }) => id)).size).toBe(DUE.length);
  });

  it("sorts by number and, as numbers, by total", async () => {
    await newInvoice({ lines: [line("1", "10.00")] });
    const totals = (await walk<Invoice>("/v1/invoices?sort=-total")).map(({ total }) => total);
    expect(totals).toEqual(["10.00", "9.00", "8.00", "7.00", "6.00", "5.00", "4.00", "3.00"]);
    const numbers = (await walk<Invoice>("/v1/invoices?sort=-number")).map(({ number }) => number);
    expect(numbers).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  });

  it("filters by status, customer and due day", async () => {
    const other = (await post<Row>("/v1/customers", { name: "Masons" })).id;
    const id = await moved({ customer_id: other, due_on: "2025-01-01" }, "sent");
    for (const filter of [`status=sent`, `customer_id=${other}`, "due_before=2026-01-01"])
      expect((await get<Page<Row>>(`/v1/invoices?${filter}`)).data.map((row) => row.id)).toEqual([id]);
    expect((await walk<Row>("/v1/invoices?due_before=2026-02-01&sort=-due_on")).length).toBe(3);
  });
});

describe("customers", () => {
  const named = async (query: string) =>
    (await walk<{ name: string }>(`/v1/customers?sort=name&${query}`)).map(({ name }) => name);

  it("are found by what is in their names and emails, also by % and _", async () => {
    for (const body of [
      { name: "100% Roof" },
      { name: "100 Roofs", email: "a_b@roof.test" },
      { name: "Back\\slash", email: "axb@mason.test" },
    ])
      await post("/v1/customers", body);
    const ask = (text: string) => named(`q=${encodeURIComponent(text)}`);
    expect(await ask("100% r")).toEqual(["100% Roof"]);
    expect(await ask("%")).toEqual(["100% Roof"]);
    expect(await ask("a_b")).toEqual(["100 Roofs"]);
    expect(await ask("_")).toEqual(["100 Roofs"]);
    expect(await ask("\\")).toEqual(["Back\\slash"]);
    expect(await ask("ROOF")).toEqual(["100 Roofs", "100% Roof", "Roofers"]);
    expect(await ask("MASON")).toEqual(["Back\\slash"]);
  });

  it("have an email that no other customer of the tenant has, or none", async () => {
    const body = { name: "Ben", email: "ben@roof.test" };
    const { id } = await post<Row>("/v1/customers", body);
    const again = { ...body, email: "BEN@roof.test" };
    const taken = await answered(409, request("POST", "/v1/customers", { token: ada.token, body: again }));
    expect(taken).toMatchObject({ code: "value_taken", errors: [{ pointer: "/email" }] });
    expect((await patch(`/v1/customers/${customer}`, { email: "ben@roof.test" })).status).toBe(409);
    expect(await answered(200, patch(`/v1/customers/${id}`, { email: null }))).toMatchObject({ email: null });
    await post("/v1/customers", { name: "Nobody's email" });
    const bob = await newTenant();
    await post("/v1/customers", body, bob.token);
  });

  it("are not deleted while they have invoices", async () => {
    await newInvoice();
    const gone = () => request("DELETE", `/v1/customers/${customer}`, { token: ada.token });
    expect(await answered(409, gone())).toMatchObject({ code: "row_in_use" });
    const { id } = await post<Row>("/v1/customers", { name: "Masons" });
    await answered(204, request("DELETE", `/v1/customers/${id}`, { token: ada.token }));
  });
});

describe("an import of customers", () => {
  const listOf = (rows: number) => ({
    customers: Array.from({ length: rows }, (_, at) => ({ name: `Customer ${at}` })),
  });
  const importing = (rows: number | string, body: object, token = ada.token, headers = {}) =>
    request("POST", `/v1/customers/import?rows=${rows}`, { token, body, headers });
  const left = (response: Response) =>
    Number(/"minute";r=(\d+)/.exec(response.headers.get("ratelimit") ?? "")?.[1]);

  it("costs a unit a row", async () => {
    const { token } = await newTenant([{ name: "minute", limit: 1000, window: 60 }]);
    expect(left(await importing(200, listOf(200), token))).toBe(800);
    expect(left(await importing(7, listOf(7), token))).toBe(793);
    expect(left(await request("GET", "/v1/customers", { token }))).toBe(792);
    expect((await walk("/v1/customers?sort=name")).length).toBe(1);
  });

  it("answers 201 with the ids, once for an Idempotency-Key", async () => {
    const headers = { "idempotency-key": crypto.randomUUID() };
    const first = await answered<{ ids: string[] }>(201, importing(3, listOf(3), ada.token, headers));
    expect(await answered(201, importing(3, listOf(3), ada.token, headers))).toEqual(first);
    expect(new Set(first.ids).size).toBe(3);
    expect((await get<Page<Row>>("/v1/customers")).data).toHaveLength(4);
  });

  it("is refused whole when its rows are not as many as it says, or one of them is not valid", async () => {
    const twice = { customers: [1, 2].map(() => ({ name: "Ben", email: "ben@roof.test" })) };
    for (const [rows, body] of [
      [1, listOf(2)],
      [200, listOf(2)],
      [201, listOf(201)],
      [0, { customers: [] }],
      ["x", listOf(1)],
      ["2&rows=2", listOf(2)],
    ] as const)
      expect(await answered(422, importing(rows, body))).toMatchObject({ code: "invalid_input" });
    expect(await answered(409, importing(2, twice))).toMatchObject({ code: "value_taken" });
    expect((await get<Page<Row>>("/v1/customers")).data).toHaveLength(1);
  });
});

it("the monthly report sums sent and paid invoices of one currency, exactly", async () => {
  const today = new Date();
  const first = (back: number) =>
    new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - back, 1)).toISOString().slice(0, 10);
  const [now, before] = [first(0), first(1)];
  await moved({ issued_on: now, lines: [line("1", "0.10")] }, "sent");
  await moved({ issued_on: now, lines: [line("1", "0.20")] }, "sent", "paid");
  await moved({ issued_on: before, lines: [line("1", "999999999.99")] }, "sent");
  await moved({ issued_on: before, lines: [line("1", "0.02")] }, "sent");
  await moved({ issued_on: first(24), lines: [line("1", "5.00")] }, "sent");
  await moved({ issued_on: now, currency: "USD", lines: [line("1", "7.00")] }, "sent");
  await moved({ issued_on: now, lines: [line("1", "9.00")] }, "void");
  await newInvoice({ issued_on: now });
  expect(await get("/v1/reports/monthly?currency=EUR")).toEqual({
    data: [
      { month: before.slice(0, 7), invoices: 2, total: "1000000000.01" },
      { month: now.slice(0, 7), invoices: 2, total: "0.30" },
    ],
  });
  expect((await request("GET", "/v1/reports/monthly", { token: ada.token })).status).toBe(422);
});

it("attachments are shown, listed by invoice, changed and deleted", async () => {
  const { id: invoice_id } = await newInvoice();
  const body = {
    invoice_id,
    file_name: "a.pdf",
    media_type: "application/pdf",
    bytes: Number.MAX_SAFE_INTEGER,
    sha256: "0f".repeat(32),
  };
  const made = await post<Row>("/v1/attachments", body);
  expect(made).toMatchObject(body);
  const path = `/v1/attachments/${made.id}`;
  expect(await get(path)).toEqual(made);
  expect((await get<Page<Row>>(`/v1/attachments?invoice_id=${invoice_id}`)).data).toEqual([made]);
  expect(await answered(200, patch(path, { file_name: "b.pdf" }))).toMatchObject({ file_name: "b.pdf" });
  for (const wrong of [{ bytes: 1.5 }, { bytes: -1 }, { bytes: 2 ** 60 }, { sha256: "0F".repeat(32) }])
    expect((await patch(path, wrong)).status).toBe(422);
  expect((await patch(path, { invoice_id: crypto.randomUUID() })).status).toBe(422);
  await answered(204, request("DELETE", path, { token: ada.token }));
});

describe("tags", () => {
  it("have a name that no other tag of the tenant has", async () => {
    const body = { name: "urgent" };
    await post("/v1/tags", body);
    const again = await answered(409, request("POST", "/v1/tags", { token: ada.token, body }));
    expect(again).toMatchObject({ code: "value_taken", errors: [{ pointer: "/name" }] });
  });

  it("are set on an invoice all at once, and find it", async () => {
    const { id } = await newInvoice();
    const [b, a] = await Promise.all(["b", "a"].map((name) => post<Row>("/v1/tags", { name })));
    const path = `/v1/invoices/${id}/tags`;
    const set = (tag_ids: unknown[], at = path) =>
      request("PUT", at, { token: ada.token, body: { tag_ids } });
    expect(await answered(200, set([b?.id, a?.id, b?.id]))).toEqual({ data: [a, b] });
    expect((await get<Page<Row>>(`/v1/invoices?tag_id=${a?.id}`)).data).toMatchObject([{ id }]);
    expect(await answered(200, set([b?.id]))).toEqual({ data: [b] });
    expect(await get(path)).toEqual({ data: [b] });
    expect((await get<Page<Row>>(`/v1/invoices?tag_id=${a?.id}`)).data).toEqual([]);
    expect(await answered(422, set([crypto.randomUUID()]))).toMatchObject({
      errors: [{ pointer: "/tag_ids" }],
    });
    expect(await get(path)).toEqual({ data: [b] });
    for (const tags of [[], [b?.id], [crypto.randomUUID()]])
      expect((await set(tags, `/v1/invoices/${crypto.randomUUID()}/tags`)).status).toBe(404);
    expect(await answered(200, set([]))).toEqual({ data: [] });
    const answers = await Promise.all([...Array(10).keys()].map((at) => set([at % 2 ? a?.id : b?.id])));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect((await get<Page<Row>>(path)).data).toHaveLength(1);
  });
});

it("another tenant sees nothing of it, and refers to nothing of it", async () => {
  const bob = await newTenant();
  const { id } = await newInvoice();
  const tag = await post<Row>("/v1/tags", { name: "urgent" });
  for (const list of ["customers", "invoices", "attachments", "tags", "notes"])
    expect(await get(`/v1/${list}`, bob.token)).toEqual({ data: [], next_cursor: null });
  for (const path of [`invoices/${id}`, `invoices/${id}/lines`, `invoices/${id}/tags`, `tags/${tag.id}`])
    expect((await request("GET", `/v1/${path}`, { token: bob.token })).status).toBe(404);
  const body = invoiceOf();
  expect((await request("POST", "/v1/invoices", { token: bob.token, body })).status).toBe(422);
  const own = await post<Row>("/v1/customers", { name: "Own" }, bob.token);
  const his = await post<Invoice>("/v1/invoices", { ...body, customer_id: own.id }, bob.token);
  expect(his.number).toBe(1);
  const tags = (at: string) =>
    request("PUT", `/v1/invoices/${at}/tags`, { token: bob.token, body: { tag_ids: [tag.id] } });
  expect([(await tags(his.id)).status, (await tags(id)).status]).toEqual([422, 404]);
  expect(await get("/v1/reports/monthly?currency=EUR", bob.token)).toEqual({ data: [] });
});

it("an API key may do what its scopes say", async () => {
  const key = await storedKey(ada, { scopes: ["reports:read", "invoices:read"] });
  await get("/v1/reports/monthly?currency=EUR", key.text);
  await get("/v1/invoices", key.text);
  expect((await request("GET", "/v1/customers", { token: key.text })).status).toBe(403);
  const body = invoiceOf();
  expect((await request("POST", "/v1/invoices", { token: key.text, body })).status).toBe(403);
});
