import { factory } from "../../../src/context.ts";

export const productPages = factory.createApp();
