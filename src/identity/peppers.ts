import { settings } from "../env.ts";
import type { Pepper } from "./peppered.ts";

/** The peppers, the one in use first. All are good: what was made with another one is made again when it is used. */
export function peppers(): [Pepper, ...Pepper[]] {
  const [first, ...others] = settings.PASSWORD_PEPPERS;
  return [pepperOf(first), ...others.map(pepperOf)];
}

const pepperOf = ({ key, ...pepper }: Omit<Pepper, "key"> & { key: Uint8Array | undefined }): Pepper => ({
  ...pepper,
  key: key ?? settings.PASSWORD_PEPPER,
});
