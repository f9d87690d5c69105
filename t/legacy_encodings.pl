# Degree signs and N-tilde in databases of other encodings, and in one that
# has none.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

foreach my $encoding (qw(utf8 latin1 latin9 win1252 euc_jp))
{
	$node->safe_psql('postgres',
		"CREATE DATABASE db_$encoding TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql("db_$encoding", 'CREATE EXTENSION aquacis');

	is(ask($encoding, "SELECT legacy_gps_to_point('20\xC2\xB0 35'' 17\" N', '100.38\xC2\xB0 O')"),
		'(-100.38,20.588055555555556)', "$encoding: degree sign");
	is(ask($encoding, "SELECT legacy_gps_error('20.588 \xC3\x97', '1')"),
		'malformed', "$encoding: a multiplication sign is none");

	# Latin letters with marks do not exist in EUC_JP's two-byte set
	next if $encoding eq 'euc_jp';
	is(ask($encoding, "SELECT legacy_gps_to_point('20.588\xC2\xBA', '\xC2\xA0-100.38')"),
		'(-100.38,20.588)', "$encoding: ordinal sign, no-break space");
	is(ask($encoding, "SELECT legacy_rfc('o\xC3\xB1o 120726 rx3')"),
		"O\xC3\x91O120726RX3", "$encoding: RFC with N-tilde");
	is(ask($encoding, "SELECT octet_length(legacy_rfc('o\xC3\xB1o120726rx3'))"),
		$encoding eq 'utf8' ? 13 : 12, "$encoding: stored as the encoding has it");
	is(ask($encoding, "SELECT legacy_rfc_error('o\xC3\xA9o120726rx3')"),
		'foreign character', "$encoding: RFC with another letter");
	is(ask($encoding, "SELECT '[' || legacy_text('  \xC3\xB1and\xC3\xBA ') || ']'"),
		"[\xC3\xB1and\xC3\xBA]", "$encoding: text");
	is(ask($encoding, "SELECT legacy_bool('\xC3\xB1')"), 'f', "$encoding: flag");
}

is(ask('win1252', "SELECT legacy_gps_to_point('20\xC2\xB0 35\xE2\x80\x99 17\xE2\x80\x9D', '-100.38')"),
	'(-100.38,20.588055555555556)', 'WIN1252: typographic quotes');

# Characters of the database that Unicode has not are refused, not an error of
# the server: a sync trigger asks for the reason and goes on.
foreach (
	[ 'win1252', '20.5\\x81', '\\xD1\\x81A' ],
	[ 'euc_jp', '20.5\\xFE\\xFE', 'A\\xFE\\xFEA' ])
{
	my ($encoding, $lat, $initials) = @$_;

	is(ask($encoding, "SELECT legacy_gps_error(E'$lat', '1'), legacy_gps_to_point(E'$lat', '1') IS NULL"),
		'malformed|t', "$encoding: no character of Unicode in a coordinate");
	is(ask($encoding, "SELECT legacy_rfc_error(E'${initials}561231GR8')"),
		'foreign character', "$encoding: no character of Unicode in an RFC");
	is(ask($encoding, "SELECT legacy_curp_error(E'${initials}')"),
		'foreign character', "$encoding: no character of Unicode in a CURP");
}

# What else went through Windows: mojibake, typographic signs as control characters.
foreach my $encoding (qw(utf8 latin1 latin9 win1252))
{
	is(ask($encoding, "SELECT legacy_text_clean('Mu\xC3\x83\xC2\xB1oz  Garc\xC3\x83\xC2\xADa'), legacy_text_error('Mu\xC3\x83\xC2\xB1oz') IS NULL"),
		"Mu\xC3\xB1oz Garc\xC3\xADa|t", "$encoding: mojibake is mended");
	is(ask($encoding, "SELECT legacy_text_clean('Mu\xC3\xB1oz')"), "Mu\xC3\xB1oz", "$encoding: sound text stays");
	is(ask($encoding, "SELECT legacy_rfc('O\xC3\x83\xC2\xB1O120726RX3')"), "O\xC3\x91O120726RX3", "$encoding: an RFC in mojibake");
	is(ask($encoding, "SELECT legacy_phone('442\xC2\xA0123\xC2\xA04567'), legacy_email_error('pe\xC3\xB1a\@b.mx'), legacy_postal_code('\xC2\xA06000'), legacy_date('31\xC2\xA0ene\xC2\xA02020')"),
		'4421234567|wrong character|06000|2020-01-31', "$encoding: no-break spaces");
}
is(ask('utf8', "SELECT legacy_gps_to_point(E'20\\u00B0 35\\u0092 17\\u0094 N', E'100.38\\u00C2\\u00B0 W')"),
	'(-100.38,20.588055555555556)', 'UTF8: the marks of Windows as control characters, and a degree sign in mojibake');
is(ask('utf8', "SELECT legacy_rfc(E'on\\u0303o120726rx3')"), "O\xC3\x91O120726RX3", 'UTF8: N and its tilde apart');
is(ask('latin1', "SELECT legacy_text_clean(E' D\\x92Angelo '), legacy_text_error(E'D\\x92Angelo')"),
	"D\xC2\x92Angelo|no such character", 'LATIN1 has no such apostrophe: the text stays as it is');
is(ask('win1252', "SELECT octet_length(legacy_text_clean(E' a\\x81 ')), legacy_text_error(E'a\\x81')"),
	'2|no such character', 'WIN1252: a byte without a character stays');
is(ask('win1252', "SELECT legacy_text_clean(E'\\xA0'), legacy_text_clean(E' \\x81 \\x81 ') IS NOT NULL"), '|t', 'WIN1252: a no-break space alone is nothing');
is(ask('euc_jp', "SELECT legacy_text_clean('  a  b '), legacy_phone('\xE3\x80\x80442 1234567'), legacy_text_error('\xE6\x97\xA5') IS NULL"), 'a b|4421234567|t', 'EUC_JP: an ideographic space');

# An encoding that PostgreSQL cannot convert to Unicode at all
$node->safe_psql('postgres',
	"CREATE DATABASE db_mule TEMPLATE template0 ENCODING 'MULE_INTERNAL' LC_COLLATE 'C' LC_CTYPE 'C'");
$node->safe_psql('db_mule', 'CREATE EXTENSION aquacis');
is($node->safe_psql('db_mule', "SELECT legacy_gps_error(E'20.588\\x81\\xB0', '1'), legacy_gps_error('20.588', '1') IS NULL"),
	'malformed|t', 'MULE_INTERNAL: no conversion');
is($node->safe_psql('db_mule', "SELECT encode(legacy_text_clean(E'  a\\x81\\xC3\\x81\\xB1 ')::bytea, 'hex'), legacy_text_clean(E'\\x81\\xA0') IS NULL, legacy_text_error(E'a\\x81\\xB0')"),
	'6181c381b1|f|no such character', 'MULE_INTERNAL: nothing is mended');

# A lone byte is Latin-1, a sequence is UTF-8; what was stored comes back.
$node->safe_psql('postgres',
	"CREATE DATABASE db_none TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
$node->safe_psql('db_none', 'CREATE EXTENSION aquacis');
my $ascii = sub { return $node->safe_psql('db_none', $_[0]); };
is($ascii->("SELECT legacy_gps_to_point(E'20.588\\xB0', E'\\xA0-100.38\\xBA')"), '(-100.38,20.588)', 'SQL_ASCII: Latin-1 degree');
is($ascii->("SELECT legacy_gps_to_point(E'20\\xB0 35\\xB4 17\\xB4\\xB4', '1')"), '(1,20.588055555555556)', 'SQL_ASCII: Latin-1 accents for primes');
is($ascii->("SELECT legacy_gps_to_point('20.588\xC2\xB0', '-100.38')"), '(-100.38,20.588)', 'SQL_ASCII: UTF-8 degree');
is($ascii->("SELECT legacy_gps_error(E'20.588\\xC2', E'-100.38')"), 'malformed', 'SQL_ASCII: half a character');
is($ascii->("SELECT legacy_gps_to_point(E'20\\xB0 35\\x92 17\\x94', E'1')"), '(1,20.588055555555556)', 'SQL_ASCII: quotes of Windows');
is($ascii->("SELECT encode(legacy_text_clean(E'  Mu\\xF1oz \\xA0\\x93a\\x94')::bytea, 'hex')"), unpack('H*', "Mu\xC3\xB1oz \xE2\x80\x9Ca\xE2\x80\x9D"), 'SQL_ASCII: bytes of Windows become UTF-8');
is($ascii->("SELECT encode(legacy_text_clean('Mu\xC3\xB1oz')::bytea, 'hex'), encode(legacy_text_clean('Mu\xC3\x83\xC2\xB1oz')::bytea, 'hex')"), join('|', (unpack('H*', "Mu\xC3\xB1oz")) x 2), 'SQL_ASCII: UTF-8 stays, mojibake is mended');
is($ascii->("SELECT encode(legacy_rfc('o\xC3\x83\xC2\xB1o120726rx3')::bytea, 'hex')"), unpack('H*', "O\xC3\x91O120726RX3"), 'SQL_ASCII: RFC in mojibake');
is($ascii->("SELECT encode(legacy_rfc(E'o\\xF1o120726rx3')::bytea, 'hex')"), unpack('H*', "O\xD1O120726RX3"), 'SQL_ASCII: RFC in Latin-1');
is($ascii->("SELECT encode(legacy_rfc('o\xC3\xB1o120726rx3')::bytea, 'hex')"), unpack('H*', "O\xC3\x91O120726RX3"), 'SQL_ASCII: RFC in UTF-8');

$node->stop;
done_testing();

sub ask
{
	my ($encoding, $sql) = @_;
	return $node->safe_psql("db_$encoding", "SET client_encoding = UTF8; $sql");
}
