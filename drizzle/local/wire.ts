import type { Duplex } from "node:stream";
import { Client, type Connection } from "pg";

/** A node-postgres client with the members that its published types leave out. */
export class WireClient extends Client {
  declare readonly connection: Connection & Messages;
  declare readonly processID: number;
  declare readonly secretKey: number;
}

/** Sends one message of the extended query protocol a call, except `query`, which is the simple one. */
type Messages = {
  stream: Duplex;
  parse(message: { text: string }): void;
  bind(message: { values: (string | null)[] }): void;
  describe(message: { type: "P" }): void;
  execute(): void;
  sync(): void;
  query(text: string): void;
};
