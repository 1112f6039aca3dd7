FROM scratch
CMD [ "echo", [ "nested json" ] ]
