import asyncio


async def support(request, signal):
    question = request.messages[-1].text
    yield f"You asked: {question}"
    for step in range(200 if question == "slowly" else 2):
        await asyncio.sleep(0.05)
        yield f" … {step}"
