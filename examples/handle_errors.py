"""Tell failures apart: a wrong argument, a refused prompt, an empty balance, an outcome that is not known."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["nanogpt_images"]
# ///

import asyncio

import nanogpt_images as ngi


async def draw(client: ngi.AsyncClient, prompt: str, **parameters: str) -> ngi.GenerationResult | None:
    try:
        return await client.images.generate(prompt, model="gpt-image-2", **parameters)
    except ngi.ParameterError as error:
        print("fix the call:", error)
    except ngi.ContentPolicyError as error:
        print("change the prompt:", error)
    except ngi.InsufficientBalanceError as error:
        print("top up the balance:", error)
    except ngi.DailyLimitError as error:
        print("go on tomorrow:", error)
    except ngi.NanoGPTError as error:
        if error.charge is ngi.Charge.UNKNOWN:
            print("it may have been charged, so do not repeat it blindly:", error)
        else:
            print(f"nothing was charged ({error.charge.value}), so it may be repeated:", error)
    return None


async def main() -> None:
    async with ngi.AsyncClient() as client:
        await draw(client, "a red fox", resolution="1x1")
        result = await draw(client, "a red fox", resolution="1024x1024")
        if result is not None:
            print("drawn for", result.cost_usd)


asyncio.run(main())
