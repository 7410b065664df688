"""A component as a Python author would write it, with every default of componentize-py."""

from componentize_py_types import Err
from wit_world.imports import outgoing_handler
from wit_world.imports import types as http
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

    def fetch_text(self, authority: str, path: str) -> str:
        request = http.OutgoingRequest(http.Fields())
        request.set_scheme(http.Scheme_Http())
        request.set_authority(authority)
        request.set_path_with_query(path)
        with outgoing_handler.handle(request, None) as answer:
            with answer.subscribe() as there:
                there.block()
            answered = answer.get().value
        if isinstance(answered, Err):
            raise Err(type(answered.value).__name__)
        text = b""
        # What is made of another goes before it.
        with answered.value as response, response.consume() as incoming, incoming.stream() as body:
            status = response.status()
            try:
                while True:
                    text += body.blocking_read(65536)
            except Err:  # the end of the stream
                pass
        return f"{status} {text.decode()}"

    def read_text(self, path: str) -> str:
        try:
            with open(path) as file:
                return file.read()
        except OSError as error:
            raise Err(error.strerror)

    def spin(self) -> None:
        turns = 0
        while True:
            turns += 1
