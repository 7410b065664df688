"""A component as a Python author would write it, with every default of componentize-py."""

from componentize_py_types import Err
from wit_world.exports import Tools as ToolsInterface
from wit_world.exports.tools import Place


class Tools(ToolsInterface):
    def echo(self, text: str) -> str:
        return text

    def add(self, a: int, b: int) -> int:
        return a + b

    def antipode(self, of: Place) -> Place:
        longitude = of.longitude - 180 if of.longitude > 0 else of.longitude + 180
        return Place(of.name, -of.latitude, longitude, of.tags, None)

    def refuse(self, reason: str) -> str:
        raise Err(reason)

    def spin(self) -> None:
        turns = 0
        while True:
            turns += 1
