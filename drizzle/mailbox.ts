import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import * as v from "valibot";
import { type Kept, listPage, mailPage } from "./mailbox-page.ts";

const MAX_MAILS = 200;
const MAX_BYTES = 1024 * 1024;
const HOST = "127.0.0.1";

const Mail = v.object({ to: v.string(), subject: v.string(), text: v.string(), html: v.string() });

/** No script, nothing from elsewhere, in no other site's frame. A mail's own HTML is in a frame that inherits this. */
const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};

/**
 * A mail service for development, on loopback: takes `POST /` as MAIL_URL's does, says what came, and shows the latest 200
 * to a browser. Takes a free port where the one it should have is taken.
 */
export async function startMailbox(
  port: number,
  say: (line: string) => void,
): Promise<{ url: string; stop: () => void }> {
  const mails: Kept[] = [];
  let hosts: string[] = [];
  let count = 0;
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.writeHead(400, HEADERS).end());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = "/" } = request;
    // A page from elsewhere, whose name somebody made lead here, would read the mails.
    if (!hosts.includes(request.headers.host ?? "")) return void response.writeHead(403, HEADERS).end();
    if (method === "POST" && url === "/") return take(request, response);
    if (method !== "GET") return void response.writeHead(405, HEADERS).end();
    if (url === "/") return void response.writeHead(200, HEADERS).end(String(await listPage(mails)));
    const mail = mails.find(({ id }) => url === `/${id}`);
    if (!mail) return void response.writeHead(404, HEADERS).end();
    response.writeHead(200, HEADERS).end(String(await mailPage(mail)));
  }

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A page from elsewhere cannot send this type without asking first.
    if (request.headers["content-type"] !== "application/json")
      return void response.writeHead(415, HEADERS).end();
    const mail = v.parse(Mail, JSON.parse(await read(request)));
    mails.unshift({ ...mail, id: ++count, at: new Date() });
    mails.splice(MAX_MAILS);
    say(`mail to ${mail.to}: ${mail.subject}\n${mail.text}`);
    response.writeHead(202, HEADERS).end();
  }

  server.listen(port, HOST);
  await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error;
    server.listen(0, HOST);
    return once(server, "listening");
  });
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("the mailbox has no port");
  hosts = [HOST, "localhost"].map((name) => `${name}:${address.port}`);
  return {
    url: `http://${HOST}:${address.port}/`,
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error("this mail is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
