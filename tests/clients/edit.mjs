// Edits an image with a mask by the openai package and prints the result as base64.
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, model, image, mask] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const png = { type: "image/png" };
const answer = await client.images.edit({
  model,
  prompt: "a hat",
  image: await toFile(fs.createReadStream(image), "in.png", png),
  mask: await toFile(fs.createReadStream(mask), "mask.png", png),
});
process.stdout.write(answer.data[0].b64_json);
