#syntax=foobar
from alpine
