"""Of the pure part, with any Python: `python3 -m unittest discover -s tests`"""

import io
import pathlib
import random
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import lookup  # noqa: E402

HEADER = "email,name,company,plan,since,notes\n"


def find(text, email="ada@example.com", header=HEADER):
    file = io.BytesIO(text if isinstance(text, bytes) else (header + text).encode())
    found = lookup.find(file, email)
    return found and found.name


class Addresses(unittest.TestCase):
    def test_what_is_one(self):
        for text in [
            "ada@example.com", " ADA@Example.COM ", "a.b+c_d-e@sub.example.co", "o'hara@example.ie", "zoë@bücher.example",
            "a@b.c", "x" * 64 + "@example.com", "1@2.3d",
        ]:
            self.assertEqual(lookup.address(text), text.strip().casefold(), text)

    def test_what_is_none(self):
        for text in [
            "", " ", "ada", "@example.com", "ada@", "ada@example", "a@b@example.com", "a b@example.com", "a@exam ple.com",
            '"a"@example.com', "a..b@example.com", ".a@example.com", "a.@example.com", "a@.example.com", "a@example..com",
            "a@-example.com", "a@example-.com", "a@[127.0.0.1]", "a@exa_mple.com", "a,b@example.com", "a\n@example.com",
            "a\0@example.com", "ada@example.com\nbcc: x", "x" * 65 + "@example.com", "a@" + "x" * 64 + ".com",
            "a@" + "x." * 130 + "com", "a" * 100_000 + "@example.com", "<ada@example.com>", "a\u00a0b@example.com",
        ]:
            with self.assertRaises(lookup.Refused, msg=repr(text)):
                lookup.address(text)

    def test_a_hostile_address_takes_no_time(self):
        began = time.monotonic()
        for text in ["a." * 127, "a@" + "a-" * 126, "a@" + "a." * 126 + "-", "!" * 254]:
            with self.assertRaises(lookup.Refused):
                lookup.address(text)
        self.assertLess(time.monotonic() - began, 5)


class Records(unittest.TestCase):
    def test_found_and_not_found(self):
        text = "ada@example.com,Ada\nGrace@Example.com,Grace,,,,\n"
        self.assertEqual(find(text), "Ada")
        self.assertEqual(find(text, "grace@example.com"), "Grace")
        self.assertIsNone(find(text, "nobody@example.com"))
        # A part of an address, and an address in a note, is nobody's.
        self.assertIsNone(find(text, "da@example.com"))
        self.assertIsNone(find("x@example.com,X,,,,asks for ada@example.com\n"))

    def test_quotes_marks_and_line_ends(self):
        self.assertEqual(find('"ada@example.com","Lovelace, ""Ada"""\n'), 'Lovelace, "Ada"')
        self.assertEqual(find('x@example.com,X,,,,"two\nlines"\nada@example.com,Ada\n'), "Ada")
        self.assertEqual(find('ada@example.com,Ada,,,,"two\r\nlines"\r\n', header=HEADER.replace("\n", "\r\n")), "Ada")
        self.assertEqual(find(("\ufeff" + HEADER + "ada@example.com,Ada").encode()), "Ada")
        self.assertEqual(find("\n \nada@example.com,Ada\n\n"), "Ada")
        self.assertEqual(find("Ada, ada@example.com \n", header="Name, E-Mail \n".replace("E-Mail", "EMAIL")), "Ada")
        found = lookup.find(io.BytesIO((HEADER + 'a@b.c,A,,,,"1\r\n2\x1b[2J"').encode()), "a@b.c")
        self.assertEqual((found.notes, found.company), ("1\n2 [2J", None))

    def test_what_is_broken_hides_nothing_else(self):
        for broken in [
            'x@example.com,"X,,,,\n', '"x@example.com,X\n"y@example.com,Y\n', 'x@example.com,"X"Y,,,,\n', '"\n', "\xff\xfe\n",
            'x,"' + "y" * 50_000 + "\n", "x" * 50_000 + "\n", "," * 1000 + "\n", '"' + "a\n" * 100, "\0\n", "\r\r\n",
        ]:
            self.assertEqual(find(broken + "ada@example.com,Ada\n"), "Ada", repr(broken[:30]))
            self.assertEqual(find("ada@example.com,Ada\n" + broken), "Ada", repr(broken[:30]))

    def test_what_may_be_the_customer_and_is_damaged_is_told(self):
        for broken in ['ada@example.com,"Ada\n', "ada@example.com,Ada,,,,,,,\n", 'ada@example.com,"A"da\n']:
            with self.assertRaisesRegex(lookup.Refused, "damaged"):
                find(broken)
            self.assertEqual(find(broken + "ada@example.com,Ada\n"), "Ada")

    def test_a_file_that_is_none(self):
        for text in [b"", b"\n\n", b"name\nAda\n", b'"email\n', b"\x00\x01\x02" * 1000]:
            with self.assertRaisesRegex(lookup.Refused, "no column `email`"):
                find(text)

    def test_a_huge_file_is_bounded(self):
        class Endless:
            def __init__(self, line):
                self.line, self.first = line, HEADER.encode()

            def readline(self, size):
                line, self.first = self.first or self.line, None
                return line[:size]

        whole = lookup.MAX_FILE
        self.addCleanup(setattr, lookup, "MAX_FILE", whole)
        lookup.MAX_FILE = 1 << 20
        for line in [b"x@example.com,X\n", b"x" * (1 << 20), b'"' + b"\n"]:
            with self.assertRaisesRegex(lookup.Refused, "larger than"):
                lookup.find(Endless(line), "ada@example.com")

    def test_against_what_was_written(self):
        """Whatever the csv module writes is read back, also with rubbish between the records."""
        import csv

        chance = random.Random(7)
        letters = ['"', ",", "\n", "\r\n", "a", "é", " ", "'", ";"]
        for _ in range(300):
            out = io.StringIO(newline="")
            writer = csv.writer(out, lineterminator=chance.choice(["\n", "\r\n"]), quoting=chance.choice([0, 1]))
            writer.writerow(["email", "name", "notes"])
            names = {}
            for at in range(chance.randrange(1, 6)):
                name = "n" + "".join(chance.choices(letters, k=chance.randrange(8))) + "n"
                names[f"c{at}@example.com"] = name
                writer.writerow([f"c{at}@example.com", name, "".join(chance.choices(letters, k=5))])
            for email, name in names.items():
                found = lookup.find(io.BytesIO(out.getvalue().encode()), email)
                self.assertEqual(found.name, name.replace("\r\n", "\n"), out.getvalue())


if __name__ == "__main__":
    unittest.main()
