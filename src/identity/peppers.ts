import { settings } from "../env.ts";

/** A secret that passwords are hashed with, at this cost, and second factors sealed. */
export type Pepper = { kid: string; key: Uint8Array; cost: number };

/** The peppers, the one in use first. All are good: what was made with another one is made again when it is used. */
export function peppers(): [Pepper, ...Pepper[]] {
  const [first, ...others] = settings.PASSWORD_PEPPERS;
  return [pepperOf(first), ...others.map(pepperOf)];
}

const pepperOf = ({ key, ...pepper }: Omit<Pepper, "key"> & { key: Uint8Array | undefined }): Pepper => ({
  ...pepper,
  key: key ?? settings.PASSWORD_PEPPER,
});
