"""Which indexes a bulk load may take away, read from the server's own words."""

from __future__ import annotations

from ops.seed.postponed_indexes import droppable

MARIADB = """CREATE TABLE `products` (
  `id` binary(16) NOT NULL,
  `name` varchar(200) NOT NULL DEFAULT 'KEY `trap` (`id`)',
  PRIMARY KEY (`id`),
  UNIQUE KEY `uq_products_farm_sku` (`farm_id`,`sku`),
  KEY `idx_products_cursor_created` (`created_at`,`id`),
  KEY `idx_products_category_created` (`category_id`,`created_at`,`id`),
  KEY `idx_products_category_price` (`category_id`,`price_minor`,`id`),
  KEY `idx_products_farm_created` (`farm_id`,`created_at`,`id`),
  FULLTEXT KEY `idx_products_search` (`name`,`description`),
  CONSTRAINT `fk_products_category` FOREIGN KEY (`category_id`) REFERENCES `categories` (`id`),
  CONSTRAINT `fk_products_farm` FOREIGN KEY (`farm_id`) REFERENCES `farms` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""

MYSQL = """CREATE TABLE `t` (
  `id` bigint NOT NULL,
  PRIMARY KEY (`id`),
  KEY `seen` (`a` DESC,`b`(10)) /*!80000 INVISIBLE */,
  FULLTEXT KEY `search` (`c`) /*!50100 WITH PARSER `ngram` */
) ENGINE=InnoDB"""


def test_unique_keys_and_one_index_per_reference_stay() -> None:
    assert list(droppable(MARIADB)) == [
        "idx_products_cursor_created",
        # idx_products_category_created stays: the reference to categories needs an index.
        "idx_products_category_price",
        # Not so farms: the unique key begins with farm_id.
        "idx_products_farm_created",
        "idx_products_search",
    ]


def test_definitions_come_back_as_the_server_wrote_them() -> None:
    found = droppable(MARIADB)
    assert found["idx_products_search"] == (
        "FULLTEXT KEY `idx_products_search` (`name`,`description`)"
    )
    mysql = droppable(MYSQL)
    assert mysql["seen"] == "KEY `seen` (`a` DESC,`b`(10)) /*!80000 INVISIBLE */"
    assert mysql["search"].endswith("WITH PARSER `ngram` */")
