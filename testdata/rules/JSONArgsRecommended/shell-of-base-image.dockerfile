FROM localhost:5017/shell
CMD run it
