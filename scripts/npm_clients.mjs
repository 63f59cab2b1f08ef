// Try clients from npm on the emulator: node scripts/npm_clients.mjs FOLDER BASE_URL
// FOLDER has the packages: npm install --prefix FOLDER openai ai @ai-sdk/openai @ai-sdk/openai-compatible
import { createRequire } from "node:module"
import path from "node:path"

const [folder, base] = process.argv.slice(2)
const require = createRequire(path.resolve(folder, "package.json"))
const { default: OpenAI, toFile } = require("openai")
const { generateImage } = require("ai")
const { createOpenAI } = require("@ai-sdk/openai")
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible")

const model = "openai/gpt-image-1-5", baseURL = `${base}/v1`, apiKey = process.env.AIMLAPI_API_KEY ?? "emulator"
const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mPQyp8OAAH3ATEjw1BhAAAAAElFTkSuQmCC",
  "base64",
)
const policy = { "X-Emulator-Fault": "content_policy" }

async function attempt(what, call) {
  const said = await call().catch((error) => `${error.name} ${error.status ?? error.statusCode}: ${error.message}`)
  console.log(`${what}: ${said}`)
}

const client = new OpenAI({ apiKey, baseURL, maxRetries: 0 })
const kinds = ({ data }) => data.map((entry) => Object.keys(entry)).join()
const file = () => toFile(png, "cat.png", { type: "image/png" })
for (const response_format of ["url", "b64_json"])
  await attempt(`openai, ${response_format}`, async () =>
    kinds(await client.images.generate({ model, prompt: "A fox", response_format })),
  )
await attempt("openai, edit", async () =>
  kinds(await client.images.edit({ model, prompt: "A boat", image: [await file(), await file()], n: 2 })),
)
await attempt("openai, refused", () => client.images.generate({ model, prompt: "A fox" }, { headers: policy }))
await attempt("openai, streamed", () => client.images.generate({ model, prompt: "A fox", stream: true }))

for (const [name, provider] of [
  ["@ai-sdk/openai", createOpenAI({ apiKey, baseURL })],
  ["@ai-sdk/openai-compatible", createOpenAICompatible({ name: "aimlapi", apiKey, baseURL })],
]) {
  const make = async (options) => {
    const { image } = await generateImage({ model: provider.imageModel(model), maxRetries: 0, ...options })
    return `${image.mediaType}, ${image.uint8Array.length} bytes`
  }
  await attempt(`${name}, generate`, () => make({ prompt: "A fox", size: "1536x1024" }))
  await attempt(`${name}, edit`, () => make({ prompt: { text: "A boat", images: [png] } }))
  await attempt(`${name}, refused`, () => make({ prompt: "A fox", headers: policy }))
}
