import { EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { json } from "node:stream/consumers";

/** A mail as it arrived, with what came beside its body. */
type Delivery = {
  to: string;
  authorization: string | undefined;
  contentType: string | undefined;
  body: unknown;
};

/**
 * A mail service on loopback. `POST /` takes a mail, but for one to `refused@…`, which it answers with 500, to
 * `moved@…`, which it sends elsewhere, or to `silent@…`, which it never answers. `GET /?to=` lists those that came, with
 * `&least=` once there are so many.
 */
export async function startMail(): Promise<{ url: string; stop: () => void }> {
  const deliveries: Delivery[] = [];
  const arrivals = new EventEmitter().setMaxListeners(0);
  const server = createServer((request, response) => {
    if (request.method === "GET") {
      void list(new URL(request.url ?? "", "http://mail").searchParams, response);
      return;
    }
    void take(request, response);
  });
  async function list(query: URLSearchParams, response: ServerResponse): Promise<void> {
    const found = () => deliveries.filter(({ to }) => to === query.get("to"));
    while (found().length < Number(query.get("least") ?? 0)) await once(arrivals, "mail");
    response.end(JSON.stringify(found()));
  }
  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const delivery = await received(request);
    deliveries.push(delivery);
    arrivals.emit("mail");
    if (delivery.to.startsWith("refused@")) response.writeHead(500).end();
    else if (delivery.to.startsWith("moved@")) response.writeHead(307, { location: "/elsewhere" }).end();
    else if (!delivery.to.startsWith("silent@")) response.writeHead(202).end();
  }
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("the mail service has no port");
  return {
    url: `http://127.0.0.1:${address.port}/`,
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function received(request: IncomingMessage): Promise<Delivery> {
  const body = (await json(request)) as { to: string };
  const { authorization, "content-type": contentType } = request.headers;
  return { to: body.to, authorization, contentType, body };
}
