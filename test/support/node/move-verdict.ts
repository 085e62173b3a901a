import type { Control, Home } from "./move-control.ts";
import { admit, type Site } from "./move-postgres.ts";
import type { Truth } from "./move-rows.ts";

/** Throws what is wrong when all jobs are over: the tenant has its rows in one place, which alone admits its requests. */
export function judge({ home, job, erased }: Control, sites: readonly Site[], truth: Truth): void {
  const fault = (what: string) => {
    throw new Error(what);
  };
  if (job) fault("The job is under way still.");
  const rows = home.at.share.rows.digest();
  if (!truth.agrees(rows, truth.digest())) fault(`There is\n${rows}\nand should be\n${truth.digest()}`);
  for (const at of sites) {
    if (at !== home.at && at.share.fence?.mode !== "closed") fault("The other place is not closed.");
    for (let epoch = 1; epoch <= home.epoch + 1; epoch++) {
      const isHome = at === home.at && epoch === home.epoch;
      for (const isReadOnly of [true, false])
        if (refuses({ at, epoch }, isReadOnly) === isHome)
          fault(`${at.name} ${isHome ? "refuses" : "admits"} requests of epoch ${epoch}.`);
    }
  }
  if (home.at.share.log.size > 0) fault("The change log is not empty.");
  if (erased?.share.rows.isEmpty === false)
    fault(`What was abandoned has left\n${erased.share.rows.digest()}`);
}

/** Whether a place refuses a request of this epoch for good. */
function refuses({ at, epoch }: Pick<Home, "at" | "epoch">, isReadOnly: boolean): boolean {
  try {
    admit(at.share.fence, { epoch }, isReadOnly, Infinity);
    return false;
  } catch {
    return true;
  }
}
