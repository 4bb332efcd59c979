"""The MCP SDK, over streamable HTTP."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("matrix")


@server.tool()
async def add(one: int, other: int, ctx: Context) -> int:
    """Add two numbers, and report on the way."""
    await ctx.report_progress(1, 2)
    return one + other


app = server.streamable_http_app()
