"""The tool: the file, and an answer of the WIT's types."""

from componentize_py_types import Err
from wit_world.exports import Customers as CustomersInterface
from wit_world.exports.customers import Answer_Found, Answer_NotFound, Customer

import lookup

FILE = "/customers/customers.csv"


class Customers(CustomersInterface):
    def lookup_customer(self, email: str) -> Answer_Found | Answer_NotFound:
        try:
            # Before the file is opened: what is no address is told as that.
            lookup.address(email)
            with open(FILE, "rb") as file:
                found = lookup.find(file, email)
        except lookup.Refused as refused:
            raise Err(str(refused))
        except OSError:
            raise Err("the list of customers cannot be read: tell the operator")
        return Answer_NotFound() if found is None else Answer_Found(Customer(*found))
