FROM python:3.13
ENV PIP_NO_CACHE_DIR=1
RUN pip install x
